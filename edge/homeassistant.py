"""How Home Assistant is told over MQTT what a Mien has to say.

Source: https://www.home-assistant.io/integrations/mqtt/ (MQTT discovery)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .records import UNCERTAIN

NOBODY = "nobody"
"""The emotion while no face is in view."""
ENTITIES = {"emotion": "sensor", "confidence": "sensor", "faces": "sensor", "fps": "sensor", "online": "binary_sensor"}
"""What a Mien has → Home Assistant's component for it."""


def discovery_topics(prefix: str, name: str) -> dict[str, str]:
    """Entity → the topic that its configuration is kept under."""
    return {entity: f"{prefix}/{component}/{name}/{entity}/config" for entity, component in ENTITIES.items()}


def discovery(
    name: str, state: str, availability: str, labels: Sequence[str], model: str, version: str, expire_after: int
) -> dict[str, dict[str, Any]]:
    """Entity → its configuration; `state` and `availability` are topics, `expire_after` is in seconds."""
    shared = {
        "device": {
            "identifiers": [name],
            "name": name,
            "manufacturer": "Mien",
            "model": model,
            "sw_version": version,
        },
        "origin": {"name": "Mien", "sw_version": version},
    }
    figures: dict[str, dict[str, Any]] = {
        "emotion": {
            "name": "Emotion",
            "icon": "mdi:emoticon-outline",
            "device_class": "enum",
            "options": [*labels, UNCERTAIN, NOBODY],
            "value_template": f"{{{{ value_json.emotion or '{NOBODY}' }}}}",
        },
        "confidence": {
            "name": "Confidence",
            "icon": "mdi:percent",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "suggested_display_precision": 0,
            # None is what Home Assistant calls unknown.
            "value_template": "{{ (100 * value_json.confidence) if value_json.confidence is not none else none }}",
        },
        "faces": {
            "name": "Faces",
            "icon": "mdi:account-group",
            "state_class": "measurement",
            "value_template": "{{ value_json.faces }}",
        },
        "fps": {
            "name": "Frame rate",
            "icon": "mdi:speedometer",
            "unit_of_measurement": "frames/s",
            "state_class": "measurement",
            "entity_category": "diagnostic",
            "suggested_display_precision": 1,
            "value_template": "{{ value_json.fps }}",
        },
    }
    entities = {
        entity: {
            **values,
            "state_topic": state,
            "availability_topic": availability,
            "expire_after": expire_after,
        }
        for entity, values in figures.items()
    }
    entities["online"] = {
        "name": "Connectivity",
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "state_topic": availability,
        "payload_on": "online",
        "payload_off": "offline",
    }
    for entity, values in entities.items():
        values |= {"unique_id": f"{name}_{entity}", **shared}
    return entities
