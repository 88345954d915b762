-- Philips Tasy: encounters attended or discharged on the day. Codes are not interpreted here; the rules do that.
-- The ward is joined by its name, and names repeat, so an encounter may have several rows.
-- Runs on Oracle and DuckDB. Order and names of the columns: `raw` in domain/his/tasy.py.
SELECT
    b.NR_ATENDIMENTO AS "nr_atendimento",
    b.CD_ESTABELECIMENTO AS "cd_estabelecimento",
    b.DT_ENTRADA AS "dt_entrada",
    b.DT_ALTA AS "dt_alta",
    b.DT_CANCELAMENTO AS "dt_cancelamento",
    b.IE_TIPO_ATENDIMENTO AS "ie_tipo_atendimento",
    b.CD_MOTIVO_ALTA AS "cd_motivo_alta",
    b.CD_MEDICO_RESP AS "cd_medico_resp",
    TASY.OBTER_PRIMEIRO_SETOR_ATEND(b.NR_ATENDIMENTO, 'C') AS "cd_primeiro_setor",
    s.CD_SETOR_ATENDIMENTO AS "cd_setor_internacao",
    v.IE_CLINICA AS "ie_clinica",
    v.NR_SEQ_CLASSIFICACAO AS "nr_seq_classificacao",
    TASY.OBTER_DADOS_PF(b.CD_PESSOA_FISICA, 'I') AS "idade",
    TASY.OBTER_NOME_PACIENTE(b.NR_ATENDIMENTO) AS "nm_paciente",
    m.NM_PESSOA_FISICA AS "nm_medico",
    TASY.OBTER_COMPL_PF(b.CD_PESSOA_FISICA, 1, 'M') AS "email",
    TASY.OBTER_TELEFONE_PF(b.CD_PESSOA_FISICA, 12) AS "telefone",
    TASY.OBTER_CPF_PESSOA_FISICA(b.CD_PESSOA_FISICA) AS "cpf"
FROM TASY.ATENDIMENTO_PACIENTE b
LEFT JOIN TASY.ATENDIMENTO_PACIENTE_V v ON v.NR_ATENDIMENTO = b.NR_ATENDIMENTO
LEFT JOIN TASY.SETOR_ATENDIMENTO s ON s.DS_SETOR_ATENDIMENTO = v.DS_SETOR_INTERNACAO
LEFT JOIN TASY.PESSOA_FISICA m ON m.CD_PESSOA_FISICA = b.CD_MEDICO_RESP
WHERE (b.DT_ENTRADA >= :window_start AND b.DT_ENTRADA < :window_end)
   OR (b.DT_ALTA >= :window_start AND b.DT_ALTA < :window_end)
