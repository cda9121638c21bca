"""What a mask becomes for the network."""

from kerazoo.targets.target import IGNORED as IGNORED
from kerazoo.targets.target import make_target as make_target
