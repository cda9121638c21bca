"""The JSON schema of configurations, which editors complete and check them by.

``python -m kerazoo.configuration.schema`` writes it anew, after a change of `kerazoo.config`.
"""

from __future__ import annotations

import json
from pathlib import Path

import kerazoo.config

SCHEMA = Path(kerazoo.config.__file__).parent / "config.schema.json"


def schema() -> str:
    """The content of the file."""
    return json.dumps(kerazoo.config.Config.model_json_schema()) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema(), encoding="utf-8")
