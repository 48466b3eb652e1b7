"""The analyses of an audit, in the order of the protocol. A new one is a file beside this and a line here."""

from .adversaries import Adversaries
from .base import Analysis
from .calibration import Calibration
from .classifiers import Classifiers
from .guided_mlp import GuidedMlp
from .guided_mlp_differences import GuidedMlpDifferences
from .importance import Importance
from .instance_attack import InstanceAttack
from .permutation import Permutation
from .readout import ReadoutTable
from .seed_variance import SeedVariance
from .transplant import Transplant
from .uniform_baseline import UniformBaseline
from .verdicts import Verdicts

PROTOCOL: tuple[Analysis, ...] = (
    Verdicts(),
    ReadoutTable(),
    Classifiers(),
    UniformBaseline(),
    SeedVariance(),
    Adversaries(),
    Calibration(),
    GuidedMlp(),
    GuidedMlpDifferences(),
    InstanceAttack(),
    Transplant(),
    Permutation(),
    Importance(),
)
