SHOP = (
    "Given a user query from an e-commerce website, retrieve description sentences of relevant "
    "products"
)


def test_each_side_exactly(cli):
    out = cli("prompts", "EcomRetrieval").out
    assert f'query:    "Instruct: {SHOP}\\nQuery: {{text}}"\n' in out
    assert 'document: "{text}"\n' in out
    assert f"\nInstruct: {SHOP}\nQuery: {{text}}\n" in out
    assert '"Null" stands for an empty text' in out


def test_a_text_in_place(cli):
    out = cli("prompts", "stsb", "--text", "你好").out
    assert out.count('"Instruct: Retrieve semantically similar text\\nQuery: 你好"') == 2
    assert '"Null"' in cli("prompts", "T2Retrieval", "--text", "").out


def test_without_instructions(cli):
    out = cli("prompts", "EcomRetrieval", "--no-instructions", "--text", "a").out
    assert 'query:    "a"' in out
    assert "Instruct" not in out


def test_table_of_ones_own(cli, tmp_path):
    table = tmp_path / "mine.toml"
    table.write_text('[SciFact]\ninstruction = "Check it"\nrule = "query only"\n')
    out = cli("prompts", "SciFact", "--instruction-table", table).out
    assert '"Instruct: Check it\\nQuery: {text}"' in out
