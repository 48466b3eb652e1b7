"""What the rest of the package must know of ours without importing it: the Auto classes their models, the models what
writes their cards."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .models.modeling_attention_classifier import AttentionClassifierModel


def register_when_imported() -> None:
    """Registers configurations and models with the Auto classes: now where transformers has loaded these, and else as
    soon as it does, so that nobody waits for transformers who does not use it."""
    loaded = [register for name, register in _AFTER.items() if name in sys.modules]
    sys.meta_path.insert(0, _AfterImport())
    for register in loaded:
        register()


def _register_configurations() -> None:
    # transformers may be in the midst of loading what a model needs: nothing but the configurations is imported here.
    from transformers.models.auto.configuration_auto import AutoConfig

    from .models.configuration_attention_classifier import LstmAttentionConfig, MlpAttentionConfig

    for config_class in (LstmAttentionConfig, MlpAttentionConfig):
        AutoConfig.register(config_class.model_type, config_class)


def _register_models() -> None:
    from transformers.models.auto.modeling_auto import AutoModelForSequenceClassification

    from .models.architectures import ARCHITECTURES

    for config_class, model_class in ARCHITECTURES.values():
        AutoModelForSequenceClassification.register(config_class, model_class)


def _give_models_their_cards() -> None:
    from .models.modeling_attention_classifier import AttentionClassifierModel

    AttentionClassifierModel.write_card = _write_card  # type: ignore[method-assign]


def _write_card(
    self: "AttentionClassifierModel", directory: str | Path, repo_id: str | None = None, **training: Any
) -> None:
    from .hub.model_cards import write_default_card, write_training_card

    if training:
        write_training_card(directory, self, repo_id, **training)
    else:
        write_default_card(directory, self, repo_id)


_AFTER = {
    "transformers.models.auto.configuration_auto": _register_configurations,
    "transformers.models.auto.modeling_auto": _register_models,
    f"{__package__}.models.modeling_attention_classifier": _give_models_their_cards,
}


class _AfterImport(MetaPathFinder):
    """Finds these modules where they are, and calls the function of each after it was executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _AFTER:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_call(module: ModuleType) -> None:
                execute(module)
                _AFTER[fullname]()

            spec.loader.exec_module = execute_and_call  # type: ignore[method-assign]
        return spec
