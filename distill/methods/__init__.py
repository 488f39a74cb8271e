"""The methods, one per file: controls, response, relation, feature, weights, procedures.

`METHODS` is the one list of them: name to `module:class`, so that names can be checked and listed
without importing torch.
"""

METHODS: dict[str, str] = {
    "none": "distillbench.distill.methods.none:Alone",
    "label_smoothing": "distillbench.distill.methods.label_smoothing:LabelSmoothing",
    "balanced_softmax": "distillbench.distill.methods.balanced_softmax:BalancedSoftmax",
    "logit_adjustment": "distillbench.distill.methods.logit_adjustment:LogitAdjustment",
    "class_balanced": "distillbench.distill.methods.class_balanced:ClassBalanced",
    "deferred_reweighting": "distillbench.distill.methods.deferred_reweighting:DeferredReweighting",
    "random_teacher": "distillbench.distill.methods.random_teacher:RandomTeacher",
    "self_teacher": "distillbench.distill.methods.self_teacher:SelfTeacher",
    "kd": "distillbench.distill.methods.kd:KD",
    "dkd": "distillbench.distill.methods.dkd:DKD",
    "nkd": "distillbench.distill.methods.nkd:NKD",
    "dist": "distillbench.distill.methods.dist:DIST",
    "wsld": "distillbench.distill.methods.wsld:WSLD",
    "jsd": "distillbench.distill.methods.jsd:JSD",
    "tf_kd": "distillbench.distill.methods.tf_kd:TfKD",
    "ctkd": "distillbench.distill.methods.ctkd:CTKD",
    "bkd": "distillbench.distill.methods.bkd:BKD",
    "ltkd": "distillbench.distill.methods.ltkd:LTKD",
    "sp": "distillbench.distill.methods.sp:SP",
    "pkt": "distillbench.distill.methods.pkt:PKT",
    "rkd": "distillbench.distill.methods.rkd:RKD",
    "cc": "distillbench.distill.methods.cc:CC",
    "fitnet": "distillbench.distill.methods.fitnet:FitNet",
    "at": "distillbench.distill.methods.at:AT",
    "vid": "distillbench.distill.methods.vid:VID",
    "nst": "distillbench.distill.methods.nst:NST",
    "crd": "distillbench.distill.methods.crd:CRD",
    "srrl": "distillbench.distill.methods.srrl:SRRL",
    "simkd": "distillbench.distill.methods.simkd:SimKD",
    "reviewkd": "distillbench.distill.methods.reviewkd:ReviewKD",
    "interpolate": "distillbench.distill.methods.interpolate:Interpolate",
    "l2sp": "distillbench.distill.methods.l2sp:L2SP",
    "takd": "distillbench.distill.methods.takd:TAKD",
    "ban": "distillbench.distill.methods.ban:BAN",
    "dml": "distillbench.distill.methods.dml:DML",
    "ema_teacher": "distillbench.distill.methods.ema_teacher:EMATeacher",
}
