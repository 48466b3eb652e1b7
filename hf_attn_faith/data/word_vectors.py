"""Pre-trained word vectors: read once for a vocabulary, put into many models."""

import gzip
import logging
import warnings
import zlib
from dataclasses import dataclass
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
                f"give --embedding_size {self.matrix.shape[1]}."
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
    """The vectors of a vocabulary's words from a text file: fastText's `.vec` (first line: number and width), GloVe's
    `.txt` (no such line), either gzipped (`.gz`).

    The file is streamed; only the words of the vocabulary are kept. A word that the file lacks takes the vector of
    the first one that differs from it in case alone.

    Args:
        path: the file; one word and its D numbers a line, separated by spaces.
        vocabulary: word -> token id, as `tokenizer.get_vocab()` gives it.

    Raises:
        InputError: a file that cannot be read; a line of another width or with something else than finite numbers; no
            word of the vocabulary in it.
    """
    path = Path(path)
    by_lower_case: dict[str, list[int]] = {}
    for word, index in vocabulary.items():
        by_lower_case.setdefault(word.lower(), []).append(index)

    found: dict[int, np.ndarray] = {}
    exact: set[int] = set()
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file, warnings.catch_warnings():
            # numpy warns where text is no number, and will raise.
            warnings.simplefilter("error", DeprecationWarning)
            width = None
            for number, line in enumerate(file, 1):
                line = line.rstrip()
                if width is None:
                    fields = line.split(b" ")
                    width = int(fields[1]) if _is_header(fields) else len(fields) - 1
                    if width < 1:
                        raise InputError(f"{path}, line {number} holds no vector: give a word and its numbers a line.")
                    if _is_header(fields):
                        continue
                spaces = line.count(b" ")
                word, _, numbers = line.partition(b" ")
                if spaces != width:
                    if spaces > width and not _is_number(numbers.partition(b" ")[0]):
                        continue  # GloVe has words with spaces in them, such as ". . ."; no vocabulary has.
                    raise InputError(
                        f"{path}, line {number} has {spaces} numbers after the word, the lines before it {width}: "
                        "repair the file."
                    )
                word = word.decode("utf-8", "replace")
                targets = [index for index in by_lower_case.get(word.lower(), ()) if index not in found]
                index = vocabulary.get(word)
                if index is not None and index not in exact:
                    exact.add(index)
                    targets.append(index)
                if targets:
                    vector = _parse(numbers, width)
                    if vector is None:
                        raise InputError(
                            f"{path}, line {number} holds something else than finite numbers: repair the file."
                        )
                    found.update(dict.fromkeys(targets, vector))
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"--word_vectors {path} cannot be read ({reason}): give a .vec, .txt or .gz file.") from error
    if not found:
        raise InputError(
            f"--word_vectors {path} has none of the {len(vocabulary)} words of the vocabulary: take another file."
        )
    ids = np.array(sorted(found))
    vectors = WordVectors(ids, np.stack([found[index] for index in ids.tolist()]), len(vocabulary))
    logger.info("Word vectors for %d of %d words (%.1f %%).", len(ids), len(vocabulary), 100 * vectors.coverage)
    return vectors


def _is_header(fields: list[bytes]) -> bool:
    return len(fields) == 2 and fields[0].isdigit() and fields[1].isdigit()


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
