"""How anything is trained: methods, phases, the one loop, runs."""

from counterpoint.training.batch import Batch as Batch
from counterpoint.training.batch import Encoded as Encoded
from counterpoint.training.chunks import in_chunks as in_chunks
from counterpoint.training.clock import Clock as Clock
from counterpoint.training.clock import rng as rng
from counterpoint.training.config import MethodConfig as MethodConfig
from counterpoint.training.config import SGDConfig as SGDConfig
from counterpoint.training.memory import Momentum as Momentum
from counterpoint.training.memory import Neighbours as Neighbours
from counterpoint.training.memory import Queue as Queue
from counterpoint.training.method import Method as Method
from counterpoint.training.optim import Optim as Optim
from counterpoint.training.phase import Keep as Keep
from counterpoint.training.phase import Phase as Phase
from counterpoint.training.predict import Classifies as Classifies
from counterpoint.training.predict import Predictions as Predictions
from counterpoint.training.runs import Run as Run
from counterpoint.training.runs import load as load
from counterpoint.training.trainer import Trainer as Trainer
from counterpoint.training.trainer import doubt as doubt
