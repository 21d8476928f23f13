"""The door of SQLAlchemy and Alembic; other rooms see these two names only."""

from monitoring.store.store import Store as Store
from monitoring.store.store import open_store as open_store
