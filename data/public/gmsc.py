"""Give Me Some Credit (Kaggle 2011): who was 90 days late within two years."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from data.public.base import Public, content

if TYPE_CHECKING:
    import pandas as pd

COMMIT = "a83342095669"
ORIGIN = f"https://raw.githubusercontent.com/SureshThyagara1/CYO---Kaggle-Give-Me-Some-Credit/{COMMIT}/Data"
COLUMNS = {
    "RevolvingUtilizationOfUnsecuredLines": "utilization",
    "age": "age",
    "NumberOfTime30-59DaysPastDueNotWorse": "late_30_to_59",
    "DebtRatio": "debt_ratio",
    "MonthlyIncome": "monthly_income",
    "NumberOfOpenCreditLinesAndLoans": "credit_lines",
    "NumberOfTimes90DaysLate": "late_90",
    "NumberRealEstateLoansOrLines": "real_estate_loans",
    "NumberOfTime60-89DaysPastDueNotWorse": "late_60_to_89",
    "NumberOfDependents": "dependents",
}


def read(paths: list[Path]) -> "pd.DataFrame":
    """Read the file, packed by gzip or, from its origin, as a ZIP."""
    import pandas as pd

    given = io.BytesIO(content(paths[0]))
    return pd.read_csv(given, compression="zip") if paths[0].suffix == ".zip" else pd.read_csv(given)


def tidy(given: "pd.DataFrame") -> "pd.DataFrame":
    """Return the borrowers in the order of the file: `key`, ten numbers, `outcome` (paid, late)."""
    import pandas as pd

    numbers = {ours: given[theirs].astype(float).round(6) for theirs, ours in COLUMNS.items()}
    keys = given.iloc[:, 0].astype(int).astype(str).astype(object)
    return pd.DataFrame({"key": keys, **numbers, "outcome": given["SeriousDlqin2yrs"].map({0: "paid", 1: "late"})})


GMSC = Public(
    "gmsc",
    ("gmsc/cs-training.csv.gz",),
    "6657b593f932bc4f7e6baa7aaf48bc6b271580513c7825d3874434c9ac7c3054",
    read,
    tidy,
    urls={f"{ORIGIN}/cs-training.csv.zip": "gmsc/cs-training.csv.zip"},
)
