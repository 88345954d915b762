-- MV Soul: one row per encounter attended or discharged on the day. Codes are not interpreted here; the rules do that.
-- Runs on Oracle and DuckDB. Order and names of the columns: `raw` in domain/his/mv.py.
SELECT
    a.CD_ATENDIMENTO AS "cd_atendimento",
    a.CD_MULTI_EMPRESA AS "cd_multi_empresa",
    a.DT_ATENDIMENTO AS "dt_atendimento",
    a.HR_ATENDIMENTO AS "hr_atendimento",
    a.DT_ALTA AS "dt_alta",
    a.HR_ALTA AS "hr_alta",
    a.TP_ATENDIMENTO AS "tp_atendimento",
    a.CD_ORI_ATE AS "cd_ori_ate",
    a.CD_SERVICO AS "cd_servico",
    a.CD_SER_DIS AS "cd_ser_dis",
    a.CD_ESPECIALID AS "cd_especialid",
    a.CD_TIP_RES AS "cd_tip_res",
    a.CD_MOT_ALT AS "cd_mot_alt",
    a.CD_CID AS "cd_cid",
    a.CD_PRESTADOR AS "cd_prestador",
    a.CD_ATENDIMENTO_PAI AS "cd_atendimento_pai",
    (SELECT COUNT(*) FROM DBAMV.ATENDIME f WHERE f.CD_ATENDIMENTO_PAI = a.CD_ATENDIMENTO) AS "qt_filhos",
    m.TP_MOT_ALTA AS "tp_mot_alta",
    r.SN_OBITO AS "sn_obito",
    o.CD_SETOR AS "ori_cd_setor",
    o.TP_ORIGEM AS "ori_tp_origem",
    sd.DS_SER_DIS AS "ds_ser_dis",
    e.DS_ESPECIALID AS "ds_especialid",
    o.DS_ORI_ATE AS "ds_ori_ate",
    s.NM_SETOR AS "nm_setor",
    u.DS_UNID_INT AS "ds_unid_int",
    p.NM_PACIENTE AS "nm_paciente",
    p.EMAIL AS "email",
    p.NR_DDI_CELULAR AS "nr_ddi_celular",
    p.NR_DDD_CELULAR AS "nr_ddd_celular",
    p.NR_CELULAR AS "nr_celular",
    p.NR_CPF AS "nr_cpf",
    d.NM_PRESTADOR AS "nm_prestador"
FROM DBAMV.ATENDIME a
LEFT JOIN DBAMV.PACIENTE p ON p.CD_PACIENTE = a.CD_PACIENTE
LEFT JOIN DBAMV.PRESTADOR d ON d.CD_PRESTADOR = a.CD_PRESTADOR
LEFT JOIN DBAMV.SER_DIS sd ON sd.CD_SER_DIS = a.CD_SER_DIS
LEFT JOIN DBAMV.ESPECIALID e ON e.CD_ESPECIALID = a.CD_ESPECIALID
LEFT JOIN DBAMV.MOT_ALT m ON m.CD_MOT_ALT = a.CD_MOT_ALT
LEFT JOIN DBAMV.TIP_RES r ON r.CD_TIP_RES = a.CD_TIP_RES
LEFT JOIN DBAMV.ORI_ATE o ON o.CD_ORI_ATE = a.CD_ORI_ATE
LEFT JOIN DBAMV.SETOR s ON s.CD_SETOR = o.CD_SETOR
LEFT JOIN DBAMV.LEITO l ON l.CD_LEITO = a.CD_LEITO
LEFT JOIN DBAMV.UNID_INT u ON u.CD_UNID_INT = l.CD_UNID_INT
WHERE (a.DT_ATENDIMENTO >= :window_start AND a.DT_ATENDIMENTO < :window_end)
   OR (a.DT_ALTA >= :window_start AND a.DT_ALTA < :window_end)
