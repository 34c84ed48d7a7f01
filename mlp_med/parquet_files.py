"""Tables in Parquet files, read so that whatever is wrong with one shows at once."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

# What pandas and pyarrow raise of a file that is none, or that lies about its columns.
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, NotImplementedError, OSError)


def read_parquet(path: Path) -> pd.DataFrame:
    """The table in a file; its texts are UTF-8, which pyarrow else finds out when one is used.

    Raises:
        Exception: one of `UNREADABLE`.
    """
    table = pq.read_table(path)
    table.validate(full=True)
    return table.to_pandas()
