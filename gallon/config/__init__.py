"""The settings of every call and command: one source of their names, defaults, limits and help.

`gallon.annotate(..., workers=8)` and `gallon annotate --workers 8` both set `EngineConfig.workers`.
"""

from gallon.config.annotation import BatchConfig, EngineConfig, ServiceConfig, ServingConfig, SpecConfig
from gallon.config.learning import (
    DataConfig,
    ObjectiveConfig,
    PretrainConfig,
    RulesConfig,
    TeachingConfig,
    TrainConfig,
    TransferConfig,
)
from gallon.config.setting import (
    DEFAULT_STORE,
    RAY,
    STORE_VARIABLE,
    Config,
    KeepConfig,
    LibraryConfig,
    Setting,
    ShortKeepConfig,
    TableConfig,
    check_folds,
    check_number,
    settings_of,
)

__all__ = [
    "DEFAULT_STORE",
    "RAY",
    "STORE_VARIABLE",
    "BatchConfig",
    "Config",
    "DataConfig",
    "EngineConfig",
    "KeepConfig",
    "LibraryConfig",
    "ObjectiveConfig",
    "PretrainConfig",
    "RulesConfig",
    "ServiceConfig",
    "ServingConfig",
    "Setting",
    "ShortKeepConfig",
    "SpecConfig",
    "TableConfig",
    "TeachingConfig",
    "TrainConfig",
    "TransferConfig",
    "check_folds",
    "check_number",
    "settings_of",
]
