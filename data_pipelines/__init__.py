"""From a raw log to `schema.json`, vocabularies, counts and block records: readers, vocabularies,
the record writer, `preprocess`."""
