"""Pre-trained word vectors: read once for a vocabulary, put into many models."""

import bz2
import codecs
import gzip
import logging
import lzma
import re
import unicodedata
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from ..errors import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WordVectors:
    """The vectors of the words of a vocabulary that a file has.

    Args:
        ids: (N,) int64, token ids, ascending.
        matrix: (N, D) float32, their vectors.
        vocab_size: words of the vocabulary, found or not.
    """

    ids: np.ndarray
    matrix: np.ndarray
    vocab_size: int

    @property
    def coverage(self) -> float:
        """Share of the vocabulary that has a vector."""
        return len(self.ids) / self.vocab_size

    def apply(self, model) -> None:
        """Put the vectors into the model's input embedding, in place.

        Rows without a vector keep their direction and are scaled to the standard deviation of the vectors, so that
        unknown words are neither louder nor quieter than the known ones. The row of the pad token is left alone.

        Raises:
            InputError: vectors of another width than the embedding, or of a larger vocabulary.
        """
        embedding = model.get_input_embeddings()
        rows, width = embedding.weight.shape
        if self.matrix.shape[1] != width:
            raise InputError(
                f"The word vectors have {self.matrix.shape[1]} dimensions, the embedding {width}: "
                f"give `embedding_size` {self.matrix.shape[1]}."
            )
        if self.ids[-1] >= rows:
            raise InputError(
                f"The word vectors were read for a vocabulary with the id {self.ids[-1]}, the embedding has {rows} "
                "rows: read them with the model's own tokenizer."
            )
        weight = embedding.weight
        with torch.no_grad():
            padding = weight[embedding.padding_idx].clone() if embedding.padding_idx is not None else None
            ids = torch.from_numpy(self.ids).to(weight.device)
            others = torch.ones(rows, dtype=torch.bool, device=weight.device)
            others[ids] = False
            if padding is not None:
                others[embedding.padding_idx] = False
            if others.any():
                weight[others] *= float(self.matrix.std()) / weight[others].square().mean().sqrt()
            weight[ids] = torch.from_numpy(self.matrix).to(weight)
            if padding is not None:
                weight[embedding.padding_idx] = padding

    def save(self, path) -> None:
        """Write a safetensors file."""
        save_file({"ids": self.ids, "matrix": self.matrix, "vocab_size": np.array(self.vocab_size)}, path)

    @classmethod
    def load(cls, path) -> "WordVectors":
        tensors = load_file(path)
        return cls(tensors["ids"], tensors["matrix"], int(tensors["vocab_size"]))


def load_word_vectors(model, tokenizer, path) -> float:
    """`read_word_vectors` for the tokenizer's vocabulary, `apply` to the model; returns the coverage."""
    vectors = read_word_vectors(path, tokenizer.get_vocab())
    vectors.apply(model)
    return vectors.coverage


def read_word_vectors(path, vocabulary: dict[str, int]) -> WordVectors:
    """The vectors of a vocabulary's words from a text file: fastText's and word2vec's `.vec` (first line: number and
    width), GloVe's `.txt` (no such line), either compressed (gzip, bzip2, xz, or alone in a zip archive).

    The file is streamed; only the words of the vocabulary are kept. Words are compared in Unicode's composed form
    (NFC). A word that the file lacks takes the vector of the first one that differs from it in case alone.

    Args:
        path: the file, in UTF-8; one word and its D numbers a line, separated by spaces or tabs.
        vocabulary: word -> token id, as `tokenizer.get_vocab()` gives it.

    Raises:
        InputError: a file that cannot be read or is cut off; a line of another width or with something else than finite
            numbers; no word of the vocabulary in it.
    """
    path = Path(path)
    exact: dict[str, list[int]] = {}
    for word, index in vocabulary.items():
        exact.setdefault(unicodedata.normalize("NFC", word), []).append(index)
    caseless: dict[str, list[int]] = {}
    for word, indices in exact.items():
        caseless.setdefault(_caseless(word), []).extend(indices)

    found: dict[int, np.ndarray] = {}
    settled: set[int] = set()  # found in their own case
    announced = width = None
    rows = undecodable = 0
    try:
        with _open(path) as file, warnings.catch_warnings():
            # numpy warns where text is no number, and will raise.
            warnings.simplefilter("error", DeprecationWarning)
            for number, line in enumerate(file, 1):
                where, complete = f"{path}, line {number}", line.endswith(b"\n")
                line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                line = line.rstrip()
                if not rows or line.count(b" ") != width:  # the quick check; tabs, or several spaces
                    line = b" ".join(line.split())
                if not line:
                    continue
                if number == 1 and re.fullmatch(rb"\d+ [1-9]\d*", line):
                    announced, width = map(int, line.split())
                    continue
                if not rows:
                    own_width = _width(path, line)
                    width = width or own_width
                rows += 1
                spaces = line.count(b" ")
                word, _, numbers = line.partition(b" ")
                if spaces != width:
                    if spaces > width and not _is_number(numbers.partition(b" ")[0]):
                        continue  # GloVe has words with spaces in them, such as ". . ."; no vocabulary has.
                    if not complete:
                        raise InputError(f"{where} ends within its numbers: the file is cut off; fetch it again.")
                    raise InputError(
                        f"{where} has {spaces} numbers after the word, the lines before it {width}: repair the file."
                    )
                try:
                    word = unicodedata.normalize("NFC", word.decode())
                except UnicodeDecodeError:
                    undecodable += 1
                    continue
                own = [index for index in exact.get(word, ()) if index not in settled]
                settled.update(own)
                targets = own + [index for index in caseless.get(_caseless(word), ()) if index not in found]
                if targets:
                    vector = _parse(numbers, width)
                    if vector is None:
                        raise InputError(f"{where} holds something else than finite numbers: repair the file.")
                    found.update(dict.fromkeys(targets, vector))
    except (OSError, EOFError, RuntimeError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"`word_vectors` {path} cannot be read ({reason}): give a .vec or .txt file, which may be compressed."
        ) from error
    if announced not in (None, rows):
        logger.warning("%s announces %d words and has %d: was it cut off?", path, announced, rows)
    if undecodable:
        logger.warning("%s: %d of %d words are not UTF-8 and were left out.", path, undecodable, rows)
    if not found:
        raise InputError(
            f"`word_vectors` {path} has none of the {len(vocabulary)} words of the vocabulary: take another file."
        )
    ids = np.array(sorted(found))
    vectors = WordVectors(ids, np.stack([found[index] for index in ids.tolist()]), len(vocabulary))
    logger.info("Word vectors for %d of %d words (%.1f %%).", len(ids), len(vocabulary), 100 * vectors.coverage)
    return vectors


def _open(path: Path):
    """The file, unpacked, whatever its name ends in."""
    with open(path, "rb") as file:
        start = file.read(6)
    if start.startswith(b"PK\x03\x04"):
        archive = zipfile.ZipFile(path)
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        if len(names) != 1:
            raise InputError(f"`word_vectors` {path} holds {', '.join(names)}: unpack it and give one of them.")
        return archive.open(names[0])
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(f"`word_vectors` {path} is UTF-16: save it as UTF-8.")
    for magic, opener in ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open)):
        if start.startswith(magic):
            return opener(path)
    return open(path, "rb")


def _width(path: Path, line: bytes) -> int:
    """How many numbers the first vector has. Raises `InputError` where it has none."""
    fields = line.split(b" ")
    if any(map(_is_number, fields[1:2])):
        return len(fields) - 1
    if width := sum(1 for _ in takewhile(_is_number, reversed(fields[1:]))):
        return width  # after a word with spaces in it
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InputError(f"`word_vectors` {path} is binary (word2vec's .bin?): give it as text, .vec or .txt.")
    commas = ", without commas" if "," in text else ""
    raise InputError(f"`word_vectors` {path} begins without a vector: give a word and its numbers a line{commas}.")


def _caseless(word: str) -> str:
    return unicodedata.normalize("NFC", word.casefold())


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parse(numbers: bytes, width: int) -> np.ndarray | None:
    """(D,) float32; None where it is not that many finite numbers."""
    try:
        vector = np.fromstring(numbers, np.float32, sep=" ")
    except (ValueError, DeprecationWarning):
        return None
    return vector if len(vector) == width and np.isfinite(vector).all() else None
