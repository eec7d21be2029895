"""Language models that chat: one protocol, an endpoint or a model in this process, each call kept in a cache."""

from counterpoint.language.accounts import Accounts as Accounts
from counterpoint.language.cache import Cache as Cache
from counterpoint.language.chat import Ask as Ask
from counterpoint.language.chat import ChatModel as ChatModel
from counterpoint.language.chat import Failure as Failure
from counterpoint.language.chat import Message as Message
from counterpoint.language.chat import Reply as Reply
from counterpoint.language.chat import Sampling as Sampling
from counterpoint.language.chat import perplexity as perplexity
from counterpoint.language.opened import open_model as open_model
from counterpoint.language.opened import register as register
from counterpoint.language.prompts import Prompt as Prompt
from counterpoint.language.prompts import fenced as fenced
