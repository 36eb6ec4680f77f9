"""What tables and pages say, in English and Chinese."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

Words = Callable[[str], str]
"""An English heading or sentence to itself, or to its Chinese counterpart."""


class Lang(str, Enum):
    """A language that reports are written in."""

    EN = "en"
    """English."""
    ZH = "zh"
    """Chinese."""


def words(lang: Lang) -> Words:
    """Return the words of a language."""
    if lang is Lang.EN:
        return str
    return lambda english: CHINESE.get(english, english)


CHINESE = {
    # Task types.
    "Classification": "分类",
    "Clustering": "聚类",
    "PairClassification": "句对分类",
    "Reranking": "重排序",
    "STS": "语义相似度",
    "Retrieval": "检索",
    "Summarization": "摘要",
    # Tables.
    "Leaderboard": "榜单",
    "Model": "模型",
    "Tasks": "任务数",
    "Task": "任务",
    "Type": "类型",
    "Mean(Task)": "任务平均",
    "Mean(TaskType)": "类型平均",
    "published": "已公布",
    "not all of its tasks are done; a mean over a part is not shown.": (
        "任务未全部完成；不给出部分任务的平均分。"
    ),
    "no score.": "无得分。",
    "Best of each column in bold; scores in points, 0 to 100.": "每列最高分加粗；分数为百分制。",
    # The page.
    "Notes": "说明",
    "Scores by task": "各任务得分",
    "Differences": "差异",
    "Type profile": "各类型表现",
    "Verdicts": "复现判定",
    "Where the time went": "耗时",
    "Environment and recipe": "环境与配方",
    "Filter models": "筛选模型",
    "Filter tasks": "筛选任务",
    "Show": "显示",
    "All rows": "全部",
    "Runs": "本地评测",
    "Published rows": "已公布",
    "All types": "全部类型",
    "Baseline": "基准",
    "Models shown": "所选模型",
    "Difference in points": "分差",
    "Score": "得分",
    "Within the tolerance": "容差内",
    "Beyond it": "超出容差",
    "Difference": "分差",
    "Seconds": "秒",
    "Minutes": "分钟",
    "Hours": "小时",
    "data": "数据",
    "encode": "编码",
    "score": "评分",
    "planned": "计划",
    "Part": "阶段",
    "Planned encoding": "计划编码时间",
    "exact": "一致",
    "within": "容差内",
    "off": "偏离",
    "not comparable": "不可比",
    "missing": "缺失",
    "reproduced": "已复现",
    "not reproduced": "未复现",
    "Ours": "本次",
    "Published": "已公布",
    "Verdict": "判定",
    "Reason": "理由",
    "Every score": "逐项得分",
    "Recipe": "配方",
    "Settings": "设置",
    "Packages": "软件包",
    "Hardware": "硬件",
    "Command": "命令",
    "No run says how long it took.": "没有评测记录耗时。",
    "No row is published of these models.": "这些模型没有已公布的结果。",
    "No manifest (run.json): how these results were made is not known.": (
        "没有运行清单（run.json），无法得知结果的产生方式。"
    ),
    "The pictures need JavaScript; the tables do not.": "图表需要 JavaScript，表格不需要。",
    "Right of zero is better than the baseline. The grey band is what may differ and still "
    "count as the same.": "零线右侧优于基准；灰色区间内的差异视为相同。",
    "Mean score of each task type. A type is left out where not all of its tasks are done.": (
        "各任务类型的平均分；任务未全部完成的类型不显示。"
    ),
    "Data loaded, texts encoded, scores computed, of each task; the tick is the encoding time "
    "that was planned.": "各任务的数据加载、文本编码与评分耗时；刻度线为计划的编码时间。",
    "Made by qzhou-eval {version}": "由 qzhou-eval {version} 生成",
    "rows shown": "行",
    "Contents": "目录",
    "Nothing to draw: choose others.": "没有可绘制的内容，请另选。",
    "As a table": "以表格显示",
    "The same in all runs": "各次运行相同的部分",
    "Held against the published row of {model}.": "与 {model} 的已公布成绩对照。",
}
"""English to Chinese."""
