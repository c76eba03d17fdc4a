"""The JSON schema of study files, with the settings of every installed task."""

from __future__ import annotations

from typing import Any

from pydantic.errors import PydanticInvalidForJsonSchema

from collapipe_ns3.config.study import StudyConfig, Task
from collapipe_ns3.learning import registry


def study_schema() -> dict[str, Any]:
    """The schema; the section `task` is one of the installed tasks with its settings.

    A task whose code can't be loaded is left out: `collapipe-ns3 tasks` reports why.
    """
    schema = StudyConfig.model_json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    section = definitions["Task"]
    tasks = []
    for name in registry.TASKS.names():
        try:
            task, inner = _task_schema(name)
        except registry.TaskFailed:
            continue
        tasks.append(task)
        definitions.update(inner)
    definitions["Task"] = {
        "title": section["title"],
        "description": section["description"],
        "anyOf": tasks,
    }
    return schema


def _task_schema(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of the section `task` for one task, and the definitions that it refers to."""
    model = registry.settings_model(name)
    template = f"#/$defs/task.{name}.{{model}}"
    try:
        settings = model.model_json_schema(ref_template=template)
    except PydanticInvalidForJsonSchema:  # types of the task's own: only the names are known
        settings = {"properties": {setting: {} for setting in model.model_fields}}
    inner = {f"task.{name}.{key}": each for key, each in settings.get("$defs", {}).items()}
    own: dict[str, Any] = {"const": name, "title": "Name"}
    default = Task.model_fields["name"].default
    if name == default:
        own["default"] = name
    required = [*([] if name == default else ["name"]), *settings.get("required", ())]
    return {
        "title": name,
        "type": "object",
        "properties": {"name": own, **settings.get("properties", {})},
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }, inner
