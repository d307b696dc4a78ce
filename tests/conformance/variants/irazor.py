"""Further settings of i-Razor that the laws are run on."""

SPECS = ["irazor(epochs=2, warmup=1, held_out=0.25, stop_at_best=True)"]
