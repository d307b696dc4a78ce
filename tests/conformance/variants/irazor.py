"""Further settings of i-Razor that the laws are run on."""

# A warm-up of an epoch (19 steps), an epoch, and 6 steps of the next.
SPECS = ["irazor(search_steps=25, warmup=1, held_out=0.25, stop_at_best=True)"]
