"""What the commands that publish have in common."""

from ..errors import InputError


def require_namespace(namespace: str | None) -> None:
    if not namespace:
        raise InputError("`namespace` is missing: name yourself, as on the Hub, or an organisation of yours.")


def show_progress() -> None:
    """Lets the Hub's client tell of its progress; `main` has silenced it together with transformers."""
    from huggingface_hub import constants
    from huggingface_hub.utils import enable_progress_bars

    if not constants.HF_HUB_DISABLE_PROGRESS_BARS:
        enable_progress_bars()
