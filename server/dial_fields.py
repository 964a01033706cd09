"""The fields of a request that set the dial, wherever a request may carry them."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field
from vllm.exceptions import VLLMValidationError

from steering.manifest import Scope
from steering.settings import Budget, Settings

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _check_rates(value: Any) -> Any:
    if value is None or isinstance(value, dict):
        return _check_shares("refusal_rates", value)
    return _share("refusal_rates", value, "or a map from categories to such numbers, ")


def _check_thresholds(value: Any) -> Any:
    return _check_shares("refusal_thresholds", value)


def _check_budget(value: Any) -> Any:
    field = "over_refusal_budget"
    if value is None or isinstance(value, BudgetFields):
        return value
    if not isinstance(value, dict):
        return _share(field, value, "or a map with such a share and a list of categories, ")
    names = value.get("categories")
    if not value.keys() <= BudgetFields.model_fields.keys() or not _is_list_of_names(names):
        raise VLLMValidationError(
            f"{field} must be a number between 0 and 1, or a map with a share and a list of"
            f" categories, not {value!r}",
            parameter=field,
        )
    return {"share": _share(f"{field}.share", value.get("share")), "categories": names}


def _is_list_of_names(names: Any) -> bool:
    return names is None or (
        isinstance(names, list) and all(isinstance(name, str) for name in names)
    )


def _check_shares(field: str, value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise VLLMValidationError(
            f"{field} must be a map from categories to numbers between 0 and 1, not {value!r}",
            parameter=field,
        )
    return {name: _share(f"{field}.{name}", share) for name, share in value.items()}


def _share(path: str, value: Any, otherwise: str = "") -> float:
    # JSON's true is Python's 1, and a number in quotes is a client's mistake: say so.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise VLLMValidationError(
            f"{path} must be a number between 0 and 1, {otherwise}not {value!r}",
            parameter=path.split(".")[0],
        )
    return float(value)


class BudgetFields(BaseModel):
    """A budget that is spent on some categories only."""

    share: Share
    categories: list[str] | None = None


class DialFields(BaseModel):
    """How much to refuse, and where in the answer."""

    refusal_rates: Annotated[Share | dict[str, Share] | None, BeforeValidator(_check_rates)] = (
        Field(
            default=None,
            description=(
                "Share of each category's prompts to refuse, between 0 (off) and 1: one number for"
                " all categories, or a map by category. Categories left out keep the default."
            ),
        )
    )
    refusal_thresholds: Annotated[dict[str, Share] | None, BeforeValidator(_check_thresholds)] = (
        Field(
            default=None,
            description=(
                "Probability of a category's refuse token from which on the prompt is refused:"
                " 0 refuses every prompt, 1 none."
            ),
        )
    )
    over_refusal_budget: Annotated[Share | BudgetFields | None, BeforeValidator(_check_budget)] = (
        Field(
            default=None,
            description=(
                "Refuse as much as possible with at most this share of harmless prompts refused:"
                " of all categories that nothing else is asked of, or, as a map with share and"
                " categories, of those."
            ),
        )
    )
    refusal_scope: Scope | None = Field(
        default=None,
        description=(
            "Where the answer may be refused: at its first token only (the default, unless the"
            " operator has another), or at every token."
        ),
    )

    @property
    def settings(self) -> Settings:
        """What the client asks of the gate."""
        return Settings(self.refusal_rates, self.refusal_thresholds, self._budget())

    def _budget(self) -> Budget | None:
        match self.over_refusal_budget:
            case None:
                return None
            case BudgetFields(share=share, categories=names):
                return Budget(share, None if names is None else tuple(names))
            case share:
                return Budget(share)
