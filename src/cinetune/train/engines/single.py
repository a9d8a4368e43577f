"""One process."""

from cinetune.train.engines._base import Base


class Single(Base):
    """The whole work in this process; what every other engine must agree with."""

    name = "single"


ENGINE = Single
