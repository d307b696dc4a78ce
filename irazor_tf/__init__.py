"""irazor_tf: which input fields of a recommender model deserve to stay, and how wide each one's
embedding should be."""

import os
import sys

# TensorFlow Recommenders refuses to import under Keras 3. The choice is the process's own: it is
# made here only where TensorFlow is not loaded yet and nobody has chosen.
if "tensorflow" not in sys.modules:
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

__version__ = "0.1.0"
