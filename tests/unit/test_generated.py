import pytest

from holdfast.reference import pages


@pytest.mark.parametrize(("path", "text"), pages().items(), ids=lambda value: getattr(value, "name", ""))
def test_generated_text_is_what_its_command_writes(path, text) -> None:  # type: ignore[no-untyped-def]
    assert path.read_text() == text, "run `make docs`"
