"""The `MLmodel` text by which MLflow shows a version's signature and loads it, without MLflow and without a pickle."""

import json

from data.schema import Anomaly, Audio, Category, Column, Id, Image, Number, Schema, Series, Text

LOADER = "models.pyfunc"
FLAVORS = {"python_function": {"loader_module": LOADER}}


def mlmodel_text(schema: Schema) -> str:
    """Return the file's content: JSON, which is YAML too, and no run or time, so that equal versions are equal."""
    inputs = [{**mlflow_type(column), "name": name, "required": True} for name, column in schema.features.items()]
    target = schema.columns[schema.target]
    value = {"name": "forecast" if isinstance(target, Series) else "value", **mlflow_type(target)}
    score = {"type": "double", "name": "score"}
    outputs: list[dict[str, object]] = [value, {**score}] if schema.ranking else [value]
    if isinstance(target, Anomaly):
        outputs = [{**score}, {"type": "boolean", "name": "anomaly"}]
    elif isinstance(target, Category):
        outputs = [{"type": "string", "name": "class"}, {"type": "double", "name": "confidence"}]
    described = {
        "flavors": FLAVORS,
        "signature": {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None},
    }
    return json.dumps(described, indent=1) + "\n"


def names_our_loader(content: bytes) -> bool:
    """Tell whether an `MLmodel` is written as above and names no code but ours: MLflow imports what it names."""
    try:
        said = json.loads(content)
        return bool(said["flavors"] == FLAVORS and f"{json.dumps(said, indent=1)}\n".encode() == content)
    except (ValueError, LookupError, TypeError, RecursionError):
        return False


def mlflow_type(column: Column) -> dict[str, object]:
    """Return a column's type in the words of an MLflow signature; a picture is nested lists of pixels, a clip a WAV."""
    match column:
        case Number():
            return {"type": "double"}
        case Category() | Text() | Id():
            return {"type": "string"}
        case Audio():
            return {"type": "binary"}
        case Image() | Series():
            described: dict[str, object] = {"type": "long" if isinstance(column, Image) else "double"}
            for _ in column.shape:
                described = {"type": "array", "items": described}
            return described
