"""What a mask becomes for the network."""

from kerazoo.targets.kinds import Target as Target
from kerazoo.targets.kinds import target_of as target_of
from kerazoo.targets.target import IGNORED as IGNORED
from kerazoo.targets.target import make_target as make_target
