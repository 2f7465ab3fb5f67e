"""The 18 tracks of CS282A, in the order of its labels: LMNB1 and CpG methylation."""

TRACKS = (
    "GSM5669183_CardiacMyocytes",
    "GSM5669188_APS",
    "GSM5669193_BorderEctoderm",
    "GSM5669198_D5Midbrain",
    "GSM5669203_DefEctoderm",
    "GSM5669209_EarlySomite",
    "GSM5669214_EndoProgenitor",
    "GSM5669220_Epicardium",
    "GSM5669226_H9ESC",
    "GSM5669232_Liver",
    "GSM5669238_MidHindgut",
    "GSM5669244_ParaxMesoderm",
    "HEK293_LMNB1",
    "GM12878_LMNB1",
    "HEK293_CpG_methylation",
    "HEK293_CpG_motifs",
    "GM12878_CpG_methylation",
    "GM12878_CpG_motifs",
)
