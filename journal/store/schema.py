"""The version of the journal's schema, and the table that has it."""

HEAD = "0022"
VERSION_TABLE = "journal_version"
