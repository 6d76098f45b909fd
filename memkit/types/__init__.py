"""The values that memkit's verbs take and return. No heavy imports.

Each is imported `as` itself, which tells type checkers that it is exported.
"""

from memkit.types.answers import NO_ROUTE as NO_ROUTE
from memkit.types.answers import Answer as Answer
from memkit.types.answers import Claim as Claim
from memkit.types.answers import Conflict as Conflict
from memkit.types.answers import Evidence as Evidence
from memkit.types.answers import Hit as Hit
from memkit.types.answers import Part as Part
from memkit.types.answers import Recall as Recall
from memkit.types.answers import Route as Route
from memkit.types.answers import Source as Source
from memkit.types.answers import Support as Support
from memkit.types.check_report import CheckReport as CheckReport
from memkit.types.check_report import Finding as Finding
from memkit.types.check_report import State as State
from memkit.types.drafts import DraftLike as DraftLike
from memkit.types.queries import BUDGET as BUDGET
from memkit.types.queries import COMBINATIONS as COMBINATIONS
from memkit.types.queries import GREEDY as GREEDY
from memkit.types.queries import HITS as HITS
from memkit.types.queries import PASSAGES as PASSAGES
from memkit.types.queries import Combine as Combine
from memkit.types.queries import Completion as Completion
from memkit.types.queries import Context as Context
from memkit.types.queries import Example as Example
from memkit.types.queries import Prompt as Prompt
from memkit.types.queries import Query as Query
from memkit.types.queries import Sampling as Sampling
from memkit.types.receipt import STANDS_OUT as STANDS_OUT
from memkit.types.receipt import Exposure as Exposure
from memkit.types.receipt import Receipt as Receipt
from memkit.types.records import ALWAYS as ALWAYS
from memkit.types.records import BackendName as BackendName
from memkit.types.records import Draft as Draft
from memkit.types.records import Message as Message
from memkit.types.records import Metadata as Metadata
from memkit.types.records import Module as Module
from memkit.types.records import Page as Page
from memkit.types.records import Period as Period
from memkit.types.records import Record as Record
from memkit.types.records import Role as Role
from memkit.types.records import Scope as Scope
from memkit.types.records import Ttl as Ttl
from memkit.types.records import Turn as Turn
from memkit.types.records import TurnDraft as TurnDraft
from memkit.types.records import Version as Version
from memkit.types.reports import ConsolidationReport as ConsolidationReport
from memkit.types.reports import ImportReport as ImportReport
from memkit.types.reports import Locality as Locality
from memkit.types.reports import ModuleReport as ModuleReport
from memkit.types.reports import Stats as Stats
from memkit.types.reports import TransferReport as TransferReport
from memkit.types.value import Value as Value
