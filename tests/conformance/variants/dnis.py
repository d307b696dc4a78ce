"""Settings of dnis that take another path: second order, rows set aside, blocks per field,
pretrained weights, a frozen network."""

SPECS = [
    "dnis(xi=0.1, held_out=0.25, per_field=True, blocks=2, pretrain_epochs=1, "
    "freeze_interactions=True, l1=0.001, stop_at_best=False, "
    "threshold=0.05, epochs=2)"
]
