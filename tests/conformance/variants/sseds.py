"""Settings of sseds that take another path: no retraining, several validation batches, a budget in
columns."""

SPECS = ["sseds(retrain=False, batches=2, on_validation=True, in_dims=True, kappa=0.5, epochs=2)"]
