"""The setting `formats` of CollaPipe is read from a study file."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from bridge.formats import ParameterFormat
from collapipe_ns3 import schemes
from collapipe_ns3.schemes.collapipe import CollaPipe


def test_a_format_is_a_name_or_its_fields() -> None:
    given = ["bf16", {"numbers": "int8", "difference": True, "largest": 0.1}]
    made = schemes.make("collapipe", {"exchange": "any", "formats": given})
    assert isinstance(made, CollaPipe)
    assert made.settings.formats == (ParameterFormat("bf16"), ParameterFormat("int8", True, 0.1))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("fp8", "expected numbers in fp32, fp16, bf16, int8, not 'fp8'"),
        ({"numbers": "int9"}, "expected numbers in fp32, fp16, bf16, int8, not 'int9'"),
        ({"number": "int8"}, "no key 'number'; did you mean numbers"),
        ({"numbers": "int8", "difference": "perhaps"}, "difference: "),
        ({"numbers": "int8", "largest": 0.1}, "expected differences"),
        (3, "expected a format such as int8, or a mapping with numbers, not 3"),
    ],
)
def test_another_format_is_refused(wrong: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        schemes.make("collapipe", {"formats": [wrong]})
