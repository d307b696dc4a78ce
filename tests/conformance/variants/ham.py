"""Further settings of ham that the laws are run on."""

SPECS = [
    # Masks that close and open again, sizes in parameters, the penalty in every fourth batch.
    "ham(epochs=2, alpha_optimizer='sgd(learning_rate=0.1)', mu=0.0005, in_parameters=True, "
    "cosine=True, orthogonality_every=4)",
]
