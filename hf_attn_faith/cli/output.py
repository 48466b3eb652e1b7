"""What several commands do with directories and results."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError


def new_directory(path: str | None) -> Path:
    """The directory to write, which must be empty or not exist yet."""
    if not path:
        raise InputError("`output_dir` is missing: name a directory for the result.")
    if Path(path).exists() and (not Path(path).is_dir() or any(Path(path).iterdir())):
        raise InputError(f"`output_dir` {path} exists and is not an empty directory: name another.")
    return Path(path)


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Makes the directory; where writing into it fails, it is as before."""
    existed = directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"`output_dir` {directory} cannot be made ({error.strerror}): name another.") from error
    try:
        yield
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        if existed:
            directory.mkdir()
        raise


def show(name: str, result, output_dir: str | None) -> None:
    """Prints the table of a result; writes it, and the instances, where asked."""
    from ..report.tables import markdown

    print(f"{name.replace('_', ' ')}\n\n{markdown(result.table)}\n")
    if output_dir is not None:
        with writing(new_directory(output_dir)):
            result.save(Path(output_dir))
        print(f"Table and instances: {output_dir}")
