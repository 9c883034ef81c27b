-- What the files beside this one use of pgTAP, for a machine that does not have it: the same names, the same verdicts.
-- tests/sql/test_pgtap.py runs them on both, and holds this to the real one.
create sequence extensions.tap_number;
create function extensions.no_plan() returns setof text
language sql as $$ select null::text where setval('extensions.tap_number', 1, false) is null $$;

create function extensions.ok(passed boolean, description text) returns text
language sql as $$
    select case when passed then '' else 'not ' end || 'ok ' || nextval('extensions.tap_number') || ' - ' || description
        || case when passed then '' else e'\n# Failed test: "' || description || '"' end
$$;

create function extensions."is"(have anyelement, want anyelement, description text) returns text
language sql as $$
    select extensions.ok(have is not distinct from want, description)
        || case when have is not distinct from want then ''
           else format(e'\n#         have: %s\n#         want: %s', have, want) end
$$;

create function extensions.results_eq(have text, want text, description text) returns text
language plpgsql as $$
declare
    had text[];
    wanted text[];
    said text := '';
begin
    execute format('select array(select h::text from (%s) as h)', have) into had;
    execute format('select array(select w::text from (%s) as w)', want) into wanted;
    for row in 1 .. greatest(cardinality(had), cardinality(wanted)) loop
        if had[row] is distinct from wanted[row] then
            said := format(e'\n#     Results differ beginning at row %s:\n#         have: %s\n#         want: %s', row, had[row], wanted[row]);
            exit;
        end if;
    end loop;
    return extensions.ok(said = '', description) || said;
end
$$;

create function extensions.is_empty(query text, description text) returns text
language plpgsql as $$
declare
    had text[];
begin
    execute format('select array(select h::text from (%s) as h)', query) into had;
    return extensions.ok(had = '{}', description)
        || case when had = '{}' then '' else e'\n#     Unexpected records:\n#         ' || array_to_string(had, e'\n#         ') end;
end
$$;

create function extensions.finish() returns setof text language sql as $$ select '1..' || currval('extensions.tap_number') $$;
