"""Slides of CAMELYON16 whose annotations have known faults. Data, and nothing else.

Source: README.md of the CAMELYON16 release, "Notes about the data" and "Test set notes"
(Computational Pathology Group, Radboud University Medical Center; the release is described in
Litjens et al. 2018, GigaScience 7, giy065, doi 10.1093/gigascience/giy065).
"""

EXCLUDED = {
    "normal_086": "was misclassified; the release has it as tumor_111",
    "test_049": "is a duplicate of another slide; the release has removed it",
}
"""Left out wherever an older copy still has them, by slide id, and why."""

PARTLY_ANNOTATED = frozenset(
    {
        "tumor_010",
        "tumor_015",
        "tumor_018",
        "tumor_020",
        "tumor_025",
        "tumor_029",
        "tumor_033",
        "tumor_034",
        "tumor_044",
        "tumor_046",
        "tumor_051",
        "tumor_054",
        "tumor_055",
        "tumor_056",
        "tumor_067",
        "tumor_079",  # a blurred tumour region is not annotated
        "tumor_085",
        "tumor_092",  # a blurred tumour region on the adjacent tissue is not annotated
        "tumor_095",
        "tumor_110",
        "test_114",
    }
)
"""May hold tumour outside their outlines: what is outlined is tumour, the rest is unknown."""
