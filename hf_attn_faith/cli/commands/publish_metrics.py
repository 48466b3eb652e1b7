"""
examples:
  hf-attn-faith publish-metrics --namespace me
"""

from dataclasses import dataclass

from ...arguments import option
from ..hub import require_namespace, show_progress

PATHS = ()


@dataclass
class Options:
    """This command."""

    namespace: str = option(None, "User or organisation. The Spaces are NAMESPACE/jsd and NAMESPACE/tvd.")


def run(options: Options) -> None:
    require_namespace(options.namespace)
    from ...hub.publishing import publish_metrics

    show_progress()
    print("\n".join(publish_metrics(options.namespace)))
