"""Any CSV or TSV, described by a YAML schema file.

separator: ","            # one character; the default
header: false             # whether the first line names the columns
encoding: utf-8
quote: '"'                # null: quotes mean nothing
strip: true               # leave out spaces around values
missing: ["?"]            # texts that mean a missing value, besides the empty one; in columns of
                          # numbers -1 is also -1.0
label: {positive: [">50K"], negative: ["<=50K"]}   # for labels that are not numbers
positive_above: 3         # for ratings
columns:                  # all columns in file order; with a header: those to use, in any order
  - {name: age, kind: numeric, transform: log_square}
  - {name: education_num, column: education-num, kind: categorical, dtype: int64}
  - {name: user, kind: categorical, role: user}    # `column`, above: a column's name in the header
  - {name: fnlwgt, kind: ignore}
  - {name: when, kind: time}
  - {name: income, kind: label}
"""

from data_pipelines.readers.table import reader as reader
