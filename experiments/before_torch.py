"""Import first: settings of the libraries under torch, which they read when they are loaded.

Those that are set already are left as they are.

MKL_CBWR                          else MKL's sums depend on where in memory their operands happen to
                                  lie, and a resumed run differs in the ninth digit
LRU_CACHE_CAPACITY,               what is compiled for a shape of bf16 products is kept for the last
ONEDNN_PRIMITIVE_CACHE_CAPACITY   1,024 shapes; batches hardly ever have the same, and each costs
                                  4 MB. Kept for 64, it costs no more time.
"""

import os

for _name, _value in {
    "MKL_CBWR": "AUTO,STRICT",
    "LRU_CACHE_CAPACITY": "64",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
}.items():
    os.environ.setdefault(_name, _value)
