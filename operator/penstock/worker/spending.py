"""What a delivery costs: checked against the budget before anything is written, and entered with the delivery."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from penstock.api import budget as budgets
from penstock.api.budget import Budget, Price
from penstock.language import times, words
from penstock.language.errors import InvalidSpec
from penstock.runs.order import RunOrder
from penstock.runs.report import SpendReport
from penstock.worker.ports.ledger import Charge, Ledger


@dataclass(frozen=True)
class Account:
    """Price and budget of a delivery, and what earlier deliveries of the period have cost."""

    price: Price
    moment: datetime
    budget: Budget | None = None
    since: str | None = None
    until: str | None = None
    spent: Decimal = Decimal(0)

    @property
    def left(self) -> str | None:
        """What is left of the budget; None where there is none."""
        if self.budget is None:
            return None
        return budgets.plain(max(Decimal(self.budget.amount) - self.spent, Decimal(0)))

    def require(self, rows: int) -> None:
        """Raise InvalidSpec (BudgetExceeded) where so many rows cost more than is left."""
        if self.budget is None:
            return
        cost = self.price.of_rows(rows)
        if self.spent + cost > Decimal(self.budget.amount):
            whole, currency = budgets.plain(Decimal(self.budget.amount)), self.budget.currency
            raise InvalidSpec(
                f"{words.count(rows, 'row')} cost {budgets.plain(cost)} {currency}, and {self.left} of {whole} "
                f"are left until {self.until}. Nothing was delivered. Raise the budget, or deliver again then.",
                "BudgetExceeded",
            )

    def charge(self, rows: int) -> Charge:
        """What the ledger enters for so many rows."""
        return Charge(times.text(self.moment), str(self.price.of_rows(rows)), self.price.currency)

    def report(self, rows: int) -> SpendReport:
        """What the run reports about so many rows."""
        cost = self.price.of_rows(rows)
        spent = budgets.plain(self.spent + cost) if self.budget is not None else None
        return SpendReport(
            cost=budgets.plain(cost), currency=self.price.currency, spent=spent, since=self.since, until=self.until
        )


def account(order: RunOrder, ledger: Ledger, subject: str, moment: datetime) -> Account | None:
    """The account of a delivery that counts as made at this moment; None where the Dataset has no price.

    Raises InvalidSpec for a budget without a price, or in another currency.
    """
    access, given = order.datasets[0].access, order.delivery.budget if order.delivery is not None else None
    price = access.price_per_thousand if access is not None else None
    if price is None:
        if given is not None:
            raise InvalidSpec("budget: the Dataset has no access.pricePerThousand, so its rows cost nothing.")
        return None
    if given is None:
        return Account(price, moment)
    if given.currency != price.currency:
        raise InvalidSpec(f"budget: the price of the Dataset is in {price.currency}, not in {given.currency}.")
    zone = order.delivery.time_zone if order.delivery is not None else None
    since, until = budgets.bounds(given.period, zone, moment)
    charges = ledger.charges(subject, since, until)
    spent = sum((Decimal(each.amount) for each in charges if each.currency == price.currency), Decimal(0))
    return Account(price, moment, given, since, until, spent)
