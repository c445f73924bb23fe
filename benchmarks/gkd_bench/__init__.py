"""How fast it is: contenders in turns, in processes of their own, on this machine."""

from gkd_bench.contender import Comparison, Contender, Workload
from gkd_bench.results import Bench, Measured
from gkd_bench.rounds import Measurement, measure

__all__ = ["Bench", "Comparison", "Contender", "Measured", "Measurement", "Workload", "measure"]
