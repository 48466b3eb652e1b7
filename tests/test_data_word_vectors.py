import bz2
import gzip
import io
import logging
import lzma
import struct
import unicodedata
import zipfile

import numpy as np
import pytest
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from hf_attn_faith.data.tokenizer import train_word_tokenizer
from hf_attn_faith.data.word_vectors import WordVectors, load_word_vectors, read_word_vectors
from hf_attn_faith.errors import InputError

VOCABULARY = {"<pad>": 0, "<unk>": 1, "good": 2, "Bad": 3, "film": 4}
GLOVE = "good 1 2 3\nother 9 9 9\nbad -1 -2 -3.5e0\n"


BINARY = b"2 3\n" + b"".join(
    word + b" " + struct.pack("3f", *vector) + b"\n"
    for word, vector in ((b"good", (0.1, 0.2, 0.3)), (b"bad", (4, 5, 6)))
)


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Model(nn.Module):
    def __init__(self, rows=5, width=3):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(rows, width, padding_idx=0)

    def get_input_embeddings(self):
        return self.embedding


@pytest.fixture
def write(tmp_path):
    def write(content, name="vectors.vec"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("glove.txt", GLOVE),
        ("fast.vec", "3 3\n" + GLOVE),
        ("trailing.vec", "3 3\n" + GLOVE.replace("\n", " \n")),
        ("windows.vec", "3 3\r\n" + GLOVE.replace("\n", "\r\n")),
        ("fast.vec.gz", gzip.compress(("3 3\n" + GLOVE).encode(), mtime=0)),
        ("spaces.txt", GLOVE + ". . . 5 5 5\n"),
        ("not-utf8.txt", GLOVE.encode() + b"\xff\xfe 1 1 1\n"),
        ("fast.vec.bz2", bz2.compress(("3 3\n" + GLOVE).encode())),
        ("fast.vec.xz", lzma.compress(("3 3\n" + GLOVE).encode())),
        ("fast.vec.zip", zipped({"fast.vec": "3 3\n" + GLOVE})),
        ("misnamed.txt", gzip.compress(GLOVE.encode(), mtime=0)),
        ("misnamed.gz", GLOVE),
        ("marked.txt", "\ufeff" + GLOVE),
        ("marked.vec", "\ufeff3 3\n" + GLOVE),
        ("tabs.txt", GLOVE.replace(" ", "\t")),
        ("tab-after-the-word.txt", GLOVE.replace(" ", "\t", 1)),
        ("aligned.txt", " " + GLOVE.replace(" ", "   ")),
        ("blank-lines.txt", GLOVE.replace("\n", "\n\n")),
        ("spaces-first.txt", ". . . 5 5 5\n" + GLOVE),
    ],
)
def test_reads_every_style(write, caplog, name, content):
    caplog.set_level(logging.INFO, "hf_attn_faith")
    vectors = read_word_vectors(write(content, name), VOCABULARY)
    assert vectors.ids.tolist() == [2, 3]  # "Bad" takes the vector of "bad"
    assert vectors.matrix.tolist() == [[1, 2, 3], [-1, -2, -3.5]]
    assert vectors.matrix.dtype == np.float32
    assert vectors.coverage == 0.4
    assert "Word vectors for 2 of 5 words (40.0 %)." in caplog.messages


def test_the_exact_word_goes_before_another_case(write):
    for content in ("Good 7\ngood 1\nGOOD 8\n", "GOOD 7\nGood 8\ngood 1\n"):
        assert read_word_vectors(write(content), {"good": 0}).matrix.tolist() == [[1]]
    assert read_word_vectors(write("GOOD 7\nGood 8\n"), {"good": 0}).matrix.tolist() == [[7]]
    # Each casing of a vocabulary that has both.
    assert read_word_vectors(write("good 1\n"), {"good": 0, "Good": 1}).matrix.tolist() == [[1], [1]]
    for content in ("good 1\nGood 2\n", "Good 2\ngood 1\n"):
        assert read_word_vectors(write(content), {"good": 0, "Good": 1}).matrix.tolist() == [[1], [2]]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_composed_or_not_and_any_case(write, form):
    vocabulary = {"café": 0, "naïve": 1, "ЁЛКА": 2, "σοφός": 3, unicodedata.normalize("NFD", "für"): 4, "ß": 5}
    text = unicodedata.normalize(form, "café 1\nNAÏVE 2\nёлка 3\nΣΟΦΌΣ 4\nfür 5\nẞ 6\n")
    vectors = read_word_vectors(write(text), vocabulary)
    assert dict(zip(vectors.ids.tolist(), vectors.matrix[:, 0].tolist(), strict=True)) == {
        0: 1, 1: 2, 2: 3, 3: 4, 4: 5, 5: 6
    }  # fmt: skip


def test_what_a_file_lacks_is_told(write, caplog):
    path = write("1000 3\n" + GLOVE)
    assert read_word_vectors(path, VOCABULARY).ids.tolist() == [2, 3]
    assert caplog.messages == [f"{path} announces 1000 words and has 3: was it cut off?"]
    caplog.clear()
    path = write("3 3\ngood 1 2 3\ncafé 4 5 6\nnaïve 7 8 9\n".encode("latin-1"))
    assert read_word_vectors(path, VOCABULARY | {"café": 5}).ids.tolist() == [2]
    assert caplog.messages == [f"{path}: 2 of 3 words are not UTF-8 and were left out."]


def test_the_first_of_a_repeated_word_counts(write):
    assert read_word_vectors(write("good 1 1\ngood 2 2\n"), VOCABULARY).matrix.tolist() == [[1, 1]]


def test_apply_fills_rows_and_scales_the_others(write):
    vectors = read_word_vectors(write(GLOVE), VOCABULARY)
    model = Model()
    before = model.embedding.weight.detach().clone()
    vectors.apply(model)
    after = model.embedding.weight
    assert after[[2, 3]].tolist() == vectors.matrix.tolist()
    assert after[0].tolist() == [0, 0, 0]
    rest = after[[1, 4]].detach()
    assert torch.allclose(rest / rest.norm(), before[[1, 4]] / before[[1, 4]].norm())
    assert float(rest.square().mean().sqrt()) == pytest.approx(float(vectors.matrix.std()), rel=1e-5)
    assert after.requires_grad


def test_a_vector_of_the_pad_token_is_not_used(write):
    model = Model()
    read_word_vectors(write("<pad> 1 1 1\ngood 2 2 3\n"), VOCABULARY).apply(model)
    assert model.embedding.weight[0].tolist() == [0, 0, 0]


def test_save_and_load(write, tmp_path):
    vectors = read_word_vectors(write(GLOVE), VOCABULARY)
    vectors.save(tmp_path / "vectors.safetensors")
    loaded = WordVectors.load(tmp_path / "vectors.safetensors")
    assert loaded.ids.tolist() == vectors.ids.tolist()
    assert loaded.matrix.tolist() == vectors.matrix.tolist()
    assert loaded.coverage == vectors.coverage


def test_load_word_vectors(write):
    tokenizer = train_word_tokenizer(["good film"])
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    model = Model(rows=len(tokenizer))
    assert load_word_vectors(model, tokenizer, write(GLOVE)) == 0.25
    assert model.embedding.weight[tokenizer.get_vocab()["good"]].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (
            BINARY,
            "w2v.bin",
            "`word_vectors` PATH is binary (word2vec's .bin?): give it as text, .vec or .txt.",
        ),
        (
            gzip.compress(BINARY, mtime=0),
            "w2v.bin.gz",
            "`word_vectors` PATH is binary (word2vec's .bin?): give it as text",
        ),
        (GLOVE.encode("utf-16"), "v.txt", "`word_vectors` PATH is UTF-16: save it as UTF-8."),
        (GLOVE.encode("utf-16-le"), "v.txt", "`word_vectors` PATH is binary (word2vec's .bin?): give it as text"),
        (
            zipped({"a.vec": GLOVE, "b.vec": GLOVE}),
            "v.zip",
            "`word_vectors` PATH holds a.vec, b.vec: unpack it",
        ),
        (zipped({"a.vec": GLOVE})[:40], "v.zip", "`word_vectors` PATH cannot be read (File is not a zip file): give"),
        ("good 1 2 3\nbad 1 2", "v.vec", "PATH, line 2 ends within its numbers: the file is cut off; fetch it again."),
        (
            "good,1,2,3\n",
            "v.csv",
            "`word_vectors` PATH begins without a vector: give a word and its numbers a line, with",
        ),
        (
            "good 0,5 1,5\n",
            "v.txt",
            "`word_vectors` PATH begins without a vector: give a word and its numbers a line, ",
        ),
        (
            gzip.compress(GLOVE.encode(), mtime=0)[:-12],
            "v.vec.gz",
            "`word_vectors` PATH cannot be read (Compressed file ended",
        ),
        ("good 1 2 3\nbad 1 2\n", "v.vec", "PATH, line 2 has 2 numbers after the word, the lines before it 3: repair"),
        ("good 1 2\nbad 1 2 3\n", "v.vec", "PATH, line 2 has 3 numbers after the word, the lines before it 2: repair"),
        ("2 3\ngood 1 2\n", "v.vec", "PATH, line 2 has 2 numbers after the word, the lines before it 3: repair"),
        ("good 1 nan 3\n", "v.vec", "PATH, line 1 holds something else than finite numbers: repair the file."),
        ("1 2\ngood inf 3\n", "v.vec", "PATH, line 2 holds something else than finite numbers: repair the file."),
        ("good 1 x 3\n", "v.vec", "PATH, line 1 holds something else than finite numbers: repair the file."),
        ("other 1 2 3\n", "v.vec", "`word_vectors` PATH has none of the 5 words of the vocabulary: take another file."),
        ("", "v.vec", "`word_vectors` PATH has none of the 5 words of the vocabulary: take another file."),
        ("good\n", "v.vec", "`word_vectors` PATH begins without a vector: give a word and its numbers a line."),
    ],
)
def test_errors_of_the_file(write, content, name, message):
    path = write(content, name)
    with pytest.raises(InputError) as error:
        read_word_vectors(path, VOCABULARY)
    assert str(error.value).startswith(message.replace("PATH", str(path)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "reason"), [("missing.vec", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_is_none(tmp_path, name, reason):
    with pytest.raises(InputError) as error:
        read_word_vectors(tmp_path / name, VOCABULARY)
    said = f"`word_vectors` {tmp_path / name} cannot be read ({reason}): give a .vec or .txt file, which may be"
    assert str(error.value) == f"{said} compressed."


def test_errors_of_the_model(write):
    vectors = read_word_vectors(write(GLOVE), VOCABULARY)
    with pytest.raises(InputError) as error:
        vectors.apply(Model(width=4))
    assert str(error.value) == "The word vectors have 3 dimensions, the embedding 4: give `embedding_size` 3."
    with pytest.raises(InputError) as error:
        vectors.apply(Model(rows=3))
    assert str(error.value) == (
        "The word vectors were read for a vocabulary with the id 3, the embedding has 3 rows: "
        "read them with the model's own tokenizer."
    )
