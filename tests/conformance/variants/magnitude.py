"""Further settings of magnitude pruning that the laws are run on."""

SPECS = ["magnitude(per='entry')"]
