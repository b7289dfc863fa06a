"""A method by its name, with what it needs: what is missing or of no use to it is refused here, for all of them."""

from __future__ import annotations

from stages.methods.inputs import INPUTS
from stages.methods.method import Method, MethodConfig
from stages.settings.choices import MethodName
from stages.tables import METHODS


def load_method(name: MethodName, config: MethodConfig) -> Method:
    """Raises ValueError for a setting that the method needs and has not, or has and does not take; and as its `load`
    does."""
    kind = METHODS[name]
    refuse_unfit(name, kind, config)
    return kind.load(config)


def refuse_unfit(name: MethodName, kind: type[Method], config: MethodConfig) -> None:
    """Raises ValueError naming the setting, unless `config` has all that the method needs and nothing that it does not
    take."""
    for setting in INPUTS:
        value = getattr(config, setting)
        flag = f"--{setting.replace('_', '-')}"
        if value is None and setting in kind.needs:
            raise ValueError(f"--method {name}: expected {flag}, {kind.needs[setting]}; got none")
        if value is not None and setting not in (*kind.needs, *kind.takes):
            raise ValueError(f"--method {name}: expected no {flag}, which it has no use for; got {value}")
