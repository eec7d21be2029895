"""The contrast engine: vectors with ids go in, a loss per row comes out.

What is compared     `Ids`, `Embeddings`, `Relation`; `stacked` puts several views into one set
The primitive        `log_mass`, `log_masses` (streamed), `attraction` (positives), `mine` (hardest negatives)
The one formula      `against`: a positive against a sum of masses, a `RowLoss`
Contrastive losses   `info_nce`, `clip`, `nt_xent`, `sup_con`
Softmax losses       `softmax_over` a table, `soft_nce` towards a teacher, `dense_nce` on any scores
Many views           `symile`, `multilinear`
Learned temperature  `LogScale`
Several processes    `mean_over_ranks`, `world`, `rank`, `gather`, `sum_over_ranks`

Vectors are not normalised here. Equation conventions are in `counterpoint.objectives.engine`.

>>> import torch
>>> view0, view1 = torch.nn.functional.normalize(torch.rand(2, 4, 8), dim=-1)
>>> info_nce(view0, view1, temperature=0.1).mean().shape
torch.Size([])
"""

from counterpoint.objectives.engine import against as against
from counterpoint.objectives.engine import attraction as attraction
from counterpoint.objectives.engine import log_mass as log_mass
from counterpoint.objectives.engine import log_masses as log_masses
from counterpoint.objectives.engine import mine as mine
from counterpoint.objectives.infonce import clip as clip
from counterpoint.objectives.infonce import info_nce as info_nce
from counterpoint.objectives.infonce import nt_xent as nt_xent
from counterpoint.objectives.infonce import sup_con as sup_con
from counterpoint.objectives.ranks import gather as gather
from counterpoint.objectives.ranks import mean_over_ranks as mean_over_ranks
from counterpoint.objectives.ranks import rank as rank
from counterpoint.objectives.ranks import sum_over_ranks as sum_over_ranks
from counterpoint.objectives.ranks import world as world
from counterpoint.objectives.relation import Embeddings as Embeddings
from counterpoint.objectives.relation import Ids as Ids
from counterpoint.objectives.relation import Relation as Relation
from counterpoint.objectives.relation import RowLoss as RowLoss
from counterpoint.objectives.relation import stacked as stacked
from counterpoint.objectives.softmax import dense_nce as dense_nce
from counterpoint.objectives.softmax import soft_nce as soft_nce
from counterpoint.objectives.softmax import softmax_over as softmax_over
from counterpoint.objectives.streamed import bf16_products as bf16_products
from counterpoint.objectives.symile import multilinear as multilinear
from counterpoint.objectives.symile import symile as symile
from counterpoint.objectives.temperature import LogScale as LogScale
