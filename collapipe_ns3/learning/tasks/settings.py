"""The settings that the tasks on text share, with their types and bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from collapipe_ns3.learning.division import Division
from collapipe_ns3.learning.text.lengths import Padding

Data = Annotated[
    str | None,
    Field(
        description="A folder with files of data; their names say which has the training, the "
        "validation and the test split. null for data that is generated."
    ),
]
Column = Annotated[
    str | None,
    Field(
        min_length=1,
        description="The name of a column of CSV and TSV files, or of a key of JSONL files. null "
        "for the usual names.",
    ),
]
OriginColumn = Annotated[
    str | None,
    Field(
        min_length=1,
        description="The column or key that says where an example is from, such as its author, for "
        "the division by source. null if there is none.",
    ),
]
Vocabulary = Annotated[
    int,
    Field(ge=300, le=1_000_000, description="Tokens of a trained tokenizer, at most."),
]
TokenizerFile = Annotated[
    str | None,
    Field(
        description="A file tokenizer.json. null for that of the model's checkpoint, or without "
        "one for byte-pair encoding that is trained on the clusters' data."
    ),
]
LowerCase = Annotated[
    bool, Field(description="Whether a trained tokenizer makes texts lower case.")
]
MaxTokens = Annotated[
    int,
    Field(
        ge=4,
        le=100_000,
        description="The most tokens of a sequence; longer ones lose their end and are counted.",
    ),
]
LengthsOf = Annotated[
    Padding,
    Field(
        description="How batches are padded: fixed to max_tokens; dynamic to the longest sequence "
        "of a batch; bucketed as dynamic, with sequences of similar lengths in a batch."
    ),
]
ClusterSize = Annotated[
    int | None,
    Field(
        ge=1,
        le=10_000_000,
        description="Examples of each cluster that has no size of its own. null divides all "
        "training examples among those clusters.",
    ),
]
DivisionOf = Annotated[
    Division,
    Field(
        description="How examples are divided over the clusters: iid at random; dirichlet by "
        "different mixtures of labels or lengths; source by whole sources; quantity at random in "
        "different numbers."
    ),
]
DirichletAlpha = Annotated[
    float,
    Field(
        gt=0,
        le=1e6,
        description="Concentration of the Dirichlet distribution of mixtures or numbers: smaller "
        "values make clusters less alike.",
    ),
]
EvaluateSize = Annotated[
    int | None,
    Field(
        ge=1,
        description="The most examples on which the model is evaluated, the same ones in all "
        "rounds. null for the whole split.",
    ),
]
Split = Annotated[
    Literal["validation", "test"],
    Field(description="The split on which the model is evaluated."),
]


@dataclass(frozen=True, slots=True)
class Choices:
    """The values of the shared settings that say how examples are encoded and divided."""

    vocabulary: int
    tokenizer: str | None
    lower_case: bool
    max_tokens: int
    lengths: Padding
    cluster_size: int | None
    division: Division
    dirichlet_alpha: float
    evaluate_size: int | None
    split: Literal["validation", "test"]
