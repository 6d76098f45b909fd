"""Checks of arguments, before anything is stored; each raises `InvalidInputError`.

There is a function for each kind of value. Those for strings, scopes, metadata and drafts give
the value as it is stored, compared and looked up: plain, and in Unicode normal form C.

Each is imported `as` itself, which tells type checkers that it is exported.
"""

from memkit.types.validate.amounts import check_duration as check_duration
from memkit.types.validate.amounts import check_flag as check_flag
from memkit.types.validate.amounts import check_limit as check_limit
from memkit.types.validate.amounts import check_number as check_number
from memkit.types.validate.descriptions import describe as describe
from memkit.types.validate.descriptions import shown as shown
from memkit.types.validate.draft_checks import check_content as check_content
from memkit.types.validate.draft_checks import validate_draft as validate_draft
from memkit.types.validate.json_values import MAX_DEPTH as MAX_DEPTH
from memkit.types.validate.json_values import Scalar as Scalar
from memkit.types.validate.json_values import check_metadata as check_metadata
from memkit.types.validate.json_values import check_object as check_object
from memkit.types.validate.json_values import check_scalar as check_scalar
from memkit.types.validate.json_values import in_normal_form as in_normal_form
from memkit.types.validate.json_values import read_json as read_json
from memkit.types.validate.moments import MAX_TTL as MAX_TTL
from memkit.types.validate.moments import MIN_TTL as MIN_TTL
from memkit.types.validate.moments import check_period as check_period
from memkit.types.validate.moments import check_time as check_time
from memkit.types.validate.moments import ttl_seconds as ttl_seconds
from memkit.types.validate.parts import check_methods as check_methods
from memkit.types.validate.parts import check_part as check_part
from memkit.types.validate.parts import check_result as check_result
from memkit.types.validate.parts import check_results as check_results
from memkit.types.validate.parts import refuse_part as refuse_part
from memkit.types.validate.scopes import MAX_KEYS as MAX_KEYS
from memkit.types.validate.scopes import check_scope as check_scope
from memkit.types.validate.strings import MAX_CHARACTERS as MAX_CHARACTERS
from memkit.types.validate.strings import MAX_ID_CHARACTERS as MAX_ID_CHARACTERS
from memkit.types.validate.strings import absolute_path as absolute_path
from memkit.types.validate.strings import check_characters as check_characters
from memkit.types.validate.strings import check_id as check_id
from memkit.types.validate.strings import check_ids as check_ids
from memkit.types.validate.strings import check_path as check_path
from memkit.types.validate.strings import check_text as check_text
from memkit.types.validate.strings import normal_form as normal_form
from memkit.types.validate.unit_vectors import unit_vector as unit_vector
