"""Tables whose truth is stated with them: XOR in views of bits, shared and private factors, tokens with polarity."""

from counterpoint.multimodal.simulate.xor import xnor as xnor
from counterpoint.multimodal.simulate.xor import xor8 as xor8
from counterpoint.multimodal.simulate.xor import xor_information as xor_information
from counterpoint.multimodal.simulate.xor import xor_joint as xor_joint
from counterpoint.multimodal.simulate.xor import xor_missing as xor_missing
from counterpoint.multimodal.simulate.xor import xor_sweep as xor_sweep
