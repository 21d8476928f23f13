"""Card transactions of two days in September 2013 (Dal Pozzolo et al. 2015): all 492 frauds beside 1,230 others."""

from typing import TYPE_CHECKING

from data.public.base import Public, read_csv

if TYPE_CHECKING:
    import pandas as pd

FILE = "creditcard_fraud_subset/creditcard_allfrauds_1722.csv"
COMMIT = "173b540b3593"
ORIGIN = f"https://raw.githubusercontent.com/jaehyeongAN/Credit-Card-Fraud-Detection/{COMMIT}/data"
COMPONENTS = tuple(f"v{n}" for n in range(1, 29))
FIRST = "2013-09-01"  # a day in September; the set says only the seconds since its first row


def tidy(given: "pd.DataFrame") -> "pd.DataFrame":
    """Return the transactions by time: `key`, `at`, 28 principal components, `amount`, `kind` (honest, fraud)."""
    import pandas as pd

    ordered = given.sort_values("Time", kind="stable").reset_index(drop=True)
    numbers = {name: ordered[name.upper()].astype(float).round(6) for name in COMPONENTS}
    return pd.DataFrame(
        {
            "key": [f"t{n:04d}" for n in range(len(ordered))],
            "at": pd.Timestamp(FIRST, tz="UTC") + pd.to_timedelta(ordered["Time"].astype(int), unit="s"),
            **numbers,
            "amount": ordered["Amount"].astype(float).round(2),
            "kind": ordered["Class"].map({0: "honest", 1: "fraud"}),
        }
    )


CARD_FRAUD = Public(
    "card_fraud",
    (f"{FILE}.gz",),
    "d61adde5ef1660dfdc07750ae1dfd261bb0638f620a514124c92632be88013f2",
    read_csv,
    tidy,
    urls={f"{ORIGIN}/creditcard_sample.csv": FILE},
)
