"""The phrases from which ``words`` makes its sentences, English beside Chinese, by key.

Words in braces are gaps that ``words`` fills. Every reason of a finding and every rule of a scorecard has a
phrase here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from maturity.schema import Text
from maturity.scorecard import Outcome


def _texts(**pairs: tuple[str, str]) -> Mapping[str, Text]:
    return MappingProxyType({key: Text(*pair) for key, pair in pairs.items()})


def _nouns(**triples: tuple[str, str, str]) -> Mapping[str, tuple[Text, Text]]:
    return MappingProxyType({key: (Text(one, zh), Text(many, zh)) for key, (one, many, zh) in triples.items()})


FINDING = _texts(
    share=(
        "{name}: {numerator} of {denominator} {what} ({percent})",
        "{name}：{denominator} 个{what}中有 {numerator} 个（{percent}）",
    ),
    count=("{name}: {value}, among {n} {what} looked at", "{name}：{value}（共查看 {n} 个{what}）"),
    number=("{name}: {value}, from {n} {what}", "{name}：{value}（来自 {n} 个{what}）"),
    needed=("; needed {op} {target}: {outcome}", "；要求 {op} {target}：{outcome}"),
    too_few=(
        "; needed {op} {target}, but too few to judge (at least {n_min})",
        "；要求 {op} {target}，但数量过少，无法判断（至少 {n_min}）",
    ),
    interval=("95 % interval {low}–{high} %", "95% 区间 {low}%–{high}%"),
    borderline=(
        ": borderline, because the target lies inside",
        "：处于临界，因为目标值落在区间内",
    ),
    detail_until=(" Until {value}.", "有效期至 {value}。"),
    detail_n=("; n = {value}", "；n = {value}"),
    machine=("the machine checks", "机器检查"),
    human=("the documents and interviews", "文档与访谈"),
)
"""What a finding with a value says, and pieces of rules."""

NOTES = _texts(
    unknown=(
        "Of {of} asked about, {unknown} could not be judged and are left out",
        "所涉 {of} 个中有 {unknown} 个无法判断，未计入",
    ),
    decided_by=("The value is that of {id}", "该值取自 {id}"),
    without_value=("Without a value and left out: {count}", "另有 {count} 个没有取值，未计入"),
    seen_only=(
        "Production time known only from the reading that first saw the alias: {count} ({width})",
        "其中 {count} 个的投产时间仅由首次读取到别名的时刻得知（{width}）",
    ),
    back_filled=(
        "Passing, but tagged only after the work was over: {count}",
        "其中 {count} 个虽通过，但起决定作用的标签是事后补加的",
    ),
    days=("interval at most {days} d wide", "区间最宽 {days} 天"),
    open=("open towards the past", "此前多久无从得知"),
)
"""What is added to a value."""

OUTCOMES: Mapping[Outcome, Text] = MappingProxyType(
    {
        Outcome.MET: Text("met", "达到"),
        Outcome.NOT_MET: Text("not met", "未达到"),
        Outcome.NO_EVIDENCE: Text("no evidence", "无证据"),
        Outcome.NOT_APPLICABLE: Text("not applicable", "不适用"),
        Outcome.NOT_SUPPORTED: Text("cannot be measured", "无法度量"),
        Outcome.COULD_NOT_LOOK: Text("could not look", "未能查看"),
    }
)

REASONS = _texts(
    no_source=("{name}: {outcome}; no source is connected", "{name}：{outcome}；尚未接入数据源"),
    no_source_yet=("{name}: {outcome}. {missing}", "{name}：{outcome}。{missing}"),
    stream_not_read=(
        "{name}: {outcome}; source {source} did not let us read its {stream} ({why})",
        "{name}：{outcome}；数据源 {source} 的{stream}未能读取（{why}）",
    ),
    stream_not_supported=(
        "{name}: {outcome}; source {source} has no {stream} ({why})",
        "{name}：{outcome}；数据源 {source} 不提供{stream}（{why}）",
    ),
    mostly_unknown=(
        "{name}: {outcome}; of {of} {what} asked about, {unknown} could not be judged, which is more than half",
        "{name}：{outcome}；所涉 {of} 个{what}中有 {unknown} 个无法判断，超过半数",
    ),
    empty_population=(
        "{name}: {outcome}; nothing of the kind was found among the {what} from {since} to {until}",
        "{name}：{outcome}；{since} 至 {until} 的{what}中没有这类对象",
    ),
    nothing_observed=(
        "{name}: {outcome}; {count} {what} looked at, without a value to measure",
        "{name}：{outcome}；查看了 {count} 个{what}，均没有可度量的取值",
    ),
    not_applicable=(
        "{name}: {outcome}; all {what} from {since} to {until} are of a kind for which the question does not arise",
        "{name}：{outcome}；{since} 至 {until} 的全部{what}都不涉及这一问题",
    ),
)
"""Why a finding has no value, by its reason."""

STREAMS = _texts(
    experiments=("experiments", "实验"),
    runs=("runs", "运行"),
    logged_models=("logged models", "已记录模型"),
    artifacts=("artifact lists", "产物列表"),
    registry=("model registry", "模型注册表"),
    projects=("projects", "项目"),
    traces=("traces", "trace 记录"),
    metric_history=("metric histories", "指标历史"),
    history=("changes over time", "变更历史"),
    evaluations=("evaluation datasets", "评估数据集"),
    repository=("repositories", "代码仓库"),
    reviews=("change requests", "变更请求"),
    ci=("continuous integration", "持续集成"),
    reports=("reports", "报告"),
    quality=("data quality results", "数据质量结果"),
    data_versions=("data versions", "数据版本"),
    lineage=("data lineage", "数据血缘"),
    service_levels=("service levels", "服务水平"),
    incidents=("incidents", "事件"),
    delivery=("delivery comparisons", "交付对比"),
)

POPULATIONS = _nouns(
    ALL=("run", "runs", "运行"),
    TRAIN=("training run", "training runs", "训练运行"),
    RETRAIN=("retraining run", "retraining runs", "再训练运行"),
    EVALUATE=("evaluation run", "evaluation runs", "评估运行"),
    MONITOR=("monitoring run", "monitoring runs", "监控运行"),
    FAILED=("failed run", "failed runs", "失败运行"),
    INPUTS=("dataset input", "dataset inputs", "数据集输入"),
    LABELLED=("labelled dataset", "labelled datasets", "带标注数据集"),
    VERSIONS=("new model version", "new model versions", "新建模型版本"),
    REGISTERED=("registered version", "registered versions", "已注册版本"),
    PROD=("production version", "production versions", "生产版本"),
    RELEASED=("release", "releases", "发布"),
    MODELS=("model in production", "models in production", "生产模型"),
    WEEKS=("service week", "service weeks", "服务周"),
    INCIDENTS=("incident", "incidents", "事件"),
)
UNITS = _nouns(
    run=("run", "runs", "运行"),
    version=("release", "releases", "发布"),
    project=("project", "projects", "项目"),
    decision=("decision", "decisions", "决策"),
    arm=("ablation arm", "ablation arms", "消融臂"),
    augmentation=("augmentation", "augmentations", "增强方法"),
    report=("report", "reports", "报告"),
    repository=("repository", "repositories", "代码仓库"),
    **{"change request": ("change request", "change requests", "变更请求")},
    incident=("incident", "incidents", "事件"),
    comparison=("comparison", "comparisons", "对比"),
    **{"delivery metric": ("delivery metric", "delivery metrics", "交付指标")},
    **{"alert rule": ("alert rule", "alert rules", "告警规则")},
)

RULES = _texts(
    met=("{value} meets the target {target}{n}; {age} days old", "{value} 达到目标 {target}{n}；证据距今 {age} 天"),
    below_target=(
        "{value} is below the target {target} and counts in proportion{n}; {age} days old",
        "{value} 低于目标 {target}，按比例计分{n}；证据距今 {age} 天",
    ),
    bound_missed=(
        "{value} misses the limit {target}, so the check gives nothing{n}; {age} days old",
        "{value} 未满足限值 {target}，该检查不得分{n}；证据距今 {age} 天",
    ),
    absence_counts=(
        "The source was read {age} days ago and shows nothing for {indicator}, which counts as not done",
        "{age} 天前已读取数据源，{indicator} 没有任何记录，按未做到计",
    ),
    no_source=("No source was measured for this check", "该检查没有可度量的数据源"),
    not_supported=("No source can show this yet", "目前没有数据源能够证明这一点"),
    could_not_look=("We could not look, so nothing is known", "未能查看，因此结果未知"),
    not_applicable_unwaived=(
        "It seems not to apply; only a confirmed waiver can leave it out",
        "看来不适用；只有经确认的豁免才能将其排除",
    ),
    nothing_found=("Nothing was found that could count as evidence", "没有找到可作为证据的内容"),
    too_few=(
        "Too few to judge; at least {n_min} are needed{n}",
        "数量过少，无法判断；至少需要 {n_min} 个{n}",
    ),
    undated=("The evidence has no date and does not count", "证据没有日期，不予计入"),
    dated_later=(
        "The evidence is dated {dated}, after {as_of}, and does not count",
        "证据日期 {dated} 晚于 {as_of}，不予计入",
    ),
    expired=(
        "The evidence is {age} days old, more than twice its validity of {validity} days, and does not count",
        "证据距今 {age} 天，达到其有效期 {validity} 天的两倍，不予计入",
    ),
    check_waived=(
        "This check is left out: {reason}. {justification} Confirmed by {confirmed_by}.{until}",
        "该检查已豁免：{reason}。{justification} 确认人：{confirmed_by}。{until}",
    ),
    document=("A document was judged {code}, {age} days ago", "文档评定为 {code}，距今 {age} 天"),
    interview=("An interview was judged {code}, {age} days ago", "访谈评定为 {code}，距今 {age} 天"),
    document_and_interview=(
        "A document was judged {document} and an interview {interview}; the lower counts; {age} days old",
        "文档评定为 {document}，访谈评定为 {interview}，取较低者；距今 {age} 天",
    ),
    no_verdict=("No assessor has given a verdict yet", "评估员尚未给出结论"),
    larger_part=("The larger part counts: {part}", "取较大的部分：{part}"),
    mean_of_parts=("Mean of the parts ({parts})", "各部分的平均值（{parts} 个）"),
    capped_not_fully=(
        "Mean {mean}, limited to {cap} because these are not fully achieved: {checks}",
        "平均值 {mean}，因以下检查未完全达成而限制为 {cap}：{checks}",
    ),
    waived=(
        "Left out: {reason}. {justification} Confirmed by {confirmed_by}.{until}",
        "已豁免：{reason}。{justification} 确认人：{confirmed_by}。{until}",
    ),
    waiver_not_permitted=(
        "A waiver was asked for, but this practice cannot be left out",
        "申请了豁免，但该实践不允许豁免",
    ),
    waiver_unconfirmed=("A waiver was asked for, but no assessor has confirmed it", "申请了豁免，但评估员尚未确认"),
    waiver_expired=("The waiver ran out on {until_day}", "豁免已于 {until_day} 到期"),
    waiver_contradicted=(
        "The waiver of {check} does not hold, because what it says cannot exist was seen{n}",
        "{check} 的豁免不成立，因为其称不存在的对象已被观察到{n}",
    ),
    waiver_leaves_nothing=(
        "The waivers would leave nothing to judge, so they do not hold",
        "若豁免成立则无可评定内容，因此不予采纳",
    ),
    one_rating=("One rating, taken as it is", "仅有一项评定，直接采用"),
    mean_of_projects=("Mean of {projects} projects", "{projects} 个项目的平均值"),
    capped_by_project=(
        "Mean {mean}, limited to {cap} because project {project} has only {value}",
        "平均值 {mean}，因项目 {project} 仅为 {value} 而限制为 {cap}",
    ),
    no_project=("There is no project to rate", "没有可评定的项目"),
    all_waived=("Everything here is left out by waivers", "此处全部内容均已豁免"),
    achievement_not_above_gate=(
        "Level {level} is blocked: its achievement {achievement} is not above {gate}",
        "第 {level} 级受阻：其达成度 {achievement} 未高于 {gate}",
    ),
    practice_at_or_below_veto=(
        "Level {level} is blocked: practice {practice} has {value}, which is not above {veto}",
        "第 {level} 级受阻：实践 {practice} 为 {value}，未高于 {veto}",
    ),
    base_not_above_gate=(
        "Level {level} is blocked: level {base} below it has {achievement}, which is not above {gate}",
        "第 {level} 级受阻：其下第 {base} 级的达成度 {achievement} 未高于 {gate}",
    ),
    levels_above_empty=(
        "Level {level} is reached, and no practice above it applies",
        "已达到第 {level} 级，其上没有适用的实践",
    ),
    highest_level=("Level {level} is the highest there is", "第 {level} 级已是最高级"),
    not_rated=(
        "Not rated: only {share} applies or is rated, and at least {least} is needed",
        "未评定：仅有 {share} 适用或已评定，至少需要 {least}",
    ),
    capability_too_low=(
        "Level {level} is blocked: capability {capability} stands at level {capability_level}, {least} is needed",
        "第 {level} 级受阻：能力 {capability} 处于第 {capability_level} 级，至少需要第 {least} 级",
    ),
    too_few_capabilities=(
        "Level {level} is blocked: {count} of {rated} capabilities reach it, and {share} of them must",
        "第 {level} 级受阻：{rated} 项能力中有 {count} 项达到，需达到 {share}",
    ),
    dimension_lowest=(
        "Level {level} is blocked by dimension {dimension}, the lowest",
        "第 {level} 级受阻：维度 {dimension} 最低",
    ),
    dimension_not_rated=("Dimension {dimension} is not rated", "维度 {dimension} 未评定"),
)
"""What decided a rating, by the key of the rule."""
