"""The contrast engine: vectors with ids go in, a loss per row comes out.

What is compared     `Ids`, `Embeddings`, `Relation`; `stacked` puts several views into one set
The primitive        `log_mass`, `log_masses` (streamed), `attraction` (positives), `mine` (hardest negatives)
The one formula      `against`: a positive against a sum of masses, a `RowLoss`
Contrastive losses   `info_nce`, `clip`, `nt_xent`, `sup_con`; without a softmax `linear_contrast`, `spectral_contrast`
Softmax losses       `softmax_over` a table, `soft_nce` towards a teacher, `dense_nce` on any scores
Many views           `symile`, `multilinear`
Gaussian rows        `Gaussian`, `gaussian_divergence`
Learned temperature  `LogScale`
Several processes    `mean_over_ranks`, `world`, `rank`, `gather`, `sum_over_ranks`

Vectors are not normalised here. Equation conventions are in `counterpoint.objectives.engine`.

>>> import torch
>>> view0, view1 = torch.nn.functional.normalize(torch.rand(2, 4, 8), dim=-1)
>>> info_nce(view0, view1, temperature=0.1).mean().shape
torch.Size([])
"""

from counterpoint.objectives.diagnose import Estimate as Estimate
from counterpoint.objectives.diagnose import false_negatives as false_negatives
from counterpoint.objectives.engine import against as against
from counterpoint.objectives.engine import attraction as attraction
from counterpoint.objectives.engine import log_mass as log_mass
from counterpoint.objectives.engine import log_masses as log_masses
from counterpoint.objectives.engine import mine as mine
from counterpoint.objectives.gaussian import Gaussian as Gaussian
from counterpoint.objectives.gaussian import gaussian_divergence as gaussian_divergence
from counterpoint.objectives.infonce import clip as clip
from counterpoint.objectives.infonce import info_nce as info_nce
from counterpoint.objectives.infonce import moco as moco
from counterpoint.objectives.infonce import multiple_negatives as multiple_negatives
from counterpoint.objectives.infonce import nt_xent as nt_xent
from counterpoint.objectives.infonce import sup_con as sup_con
from counterpoint.objectives.linear import linear_contrast as linear_contrast
from counterpoint.objectives.linear import spectral_contrast as spectral_contrast
from counterpoint.objectives.losses import AlignmentLoss as AlignmentLoss
from counterpoint.objectives.losses import BarlowTwinsLoss as BarlowTwinsLoss
from counterpoint.objectives.losses import CanonicalLoss as CanonicalLoss
from counterpoint.objectives.losses import CLIPLoss as CLIPLoss
from counterpoint.objectives.losses import ContrastiveMarginLoss as ContrastiveMarginLoss
from counterpoint.objectives.losses import CosineLoss as CosineLoss
from counterpoint.objectives.losses import DebiasedLoss as DebiasedLoss
from counterpoint.objectives.losses import DecoupledLoss as DecoupledLoss
from counterpoint.objectives.losses import HardnessWeightedLoss as HardnessWeightedLoss
from counterpoint.objectives.losses import InfoNCELoss as InfoNCELoss
from counterpoint.objectives.losses import LinearContrastLoss as LinearContrastLoss
from counterpoint.objectives.losses import Loss as Loss
from counterpoint.objectives.losses import MoCoLoss as MoCoLoss
from counterpoint.objectives.losses import MultipleNegativesLoss as MultipleNegativesLoss
from counterpoint.objectives.losses import MultiSimilarityLoss as MultiSimilarityLoss
from counterpoint.objectives.losses import MultiViewLoss as MultiViewLoss
from counterpoint.objectives.losses import NTXentLoss as NTXentLoss
from counterpoint.objectives.losses import OrthogonalityLoss as OrthogonalityLoss
from counterpoint.objectives.losses import SigLIPLoss as SigLIPLoss
from counterpoint.objectives.losses import SoftmaxOverLoss as SoftmaxOverLoss
from counterpoint.objectives.losses import SoftNCELoss as SoftNCELoss
from counterpoint.objectives.losses import SpectralContrastLoss as SpectralContrastLoss
from counterpoint.objectives.losses import SupConLoss as SupConLoss
from counterpoint.objectives.losses import SwAVLoss as SwAVLoss
from counterpoint.objectives.losses import SymileLoss as SymileLoss
from counterpoint.objectives.losses import TripletLoss as TripletLoss
from counterpoint.objectives.losses import UniformityLoss as UniformityLoss
from counterpoint.objectives.losses import VICRegLoss as VICRegLoss
from counterpoint.objectives.mining import contrastive_margin as contrastive_margin
from counterpoint.objectives.mining import multi_similarity as multi_similarity
from counterpoint.objectives.mining import triplet as triplet
from counterpoint.objectives.ranks import gather as gather
from counterpoint.objectives.ranks import mean_over_ranks as mean_over_ranks
from counterpoint.objectives.ranks import rank as rank
from counterpoint.objectives.ranks import sum_over_ranks as sum_over_ranks
from counterpoint.objectives.ranks import world as world
from counterpoint.objectives.regularisers import alignment as alignment
from counterpoint.objectives.regularisers import barlow_twins as barlow_twins
from counterpoint.objectives.regularisers import canonical as canonical
from counterpoint.objectives.regularisers import cosine as cosine
from counterpoint.objectives.regularisers import orthogonality as orthogonality
from counterpoint.objectives.regularisers import uniformity as uniformity
from counterpoint.objectives.regularisers import vicreg as vicreg
from counterpoint.objectives.relation import Embeddings as Embeddings
from counterpoint.objectives.relation import Ids as Ids
from counterpoint.objectives.relation import Relation as Relation
from counterpoint.objectives.relation import RowLoss as RowLoss
from counterpoint.objectives.relation import stacked as stacked
from counterpoint.objectives.rowwise import rowwise as rowwise
from counterpoint.objectives.sigmoid import siglip as siglip
from counterpoint.objectives.softmax import dense_nce as dense_nce
from counterpoint.objectives.softmax import soft_nce as soft_nce
from counterpoint.objectives.softmax import softmax_over as softmax_over
from counterpoint.objectives.streamed import bf16_products as bf16_products
from counterpoint.objectives.symile import multilinear as multilinear
from counterpoint.objectives.symile import symile as symile
from counterpoint.objectives.temperature import LogScale as LogScale
from counterpoint.objectives.transport import Plan as Plan
from counterpoint.objectives.transport import prototype_codes as prototype_codes
from counterpoint.objectives.transport import sinkhorn as sinkhorn
from counterpoint.objectives.transport import swav as swav
from counterpoint.objectives.views import multi_view as multi_view
from counterpoint.objectives.weighted import debiased as debiased
from counterpoint.objectives.weighted import decoupled as decoupled
from counterpoint.objectives.weighted import hardness_weighted as hardness_weighted
