-- Merges the questions of import_ready and adds their items to import_changed. A list replaces the imported questions of its item; one that
-- a visitor has asked stays and takes an answer from the file. Questions are the same when their texts are. Numbers of votes that are not
-- those that the item shows are taken as given elsewhere, and the votes of visitors are added. One pass over import_ready with lookups in
-- question_content_key; unchanged rows are not rewritten.
with mentioned as materialized (
    select r.item_id, s.questions from import_ready r join import_item s using (row_no)
    where s.questions is not null and r.problem is null and not r.later_feed
), listed as materialized (
    select distinct on (m.item_id, v.question)
           m.item_id, v.question, v.answer, v.upvotes, v.downvotes, v.hidden, v.position
    from mentioned m cross join lateral rows from (
        jsonb_to_recordset(m.questions) as (question text, answer text, upvotes integer, downvotes integer, hidden boolean)
    ) with ordinality v (question, answer, upvotes, downvotes, hidden, position)
    order by m.item_id, v.question, v.position
), removed as (
    delete from question q using mentioned m
    where q.item_id = m.item_id and q.owner is null
      and not exists (select from listed l where l.item_id = q.item_id and l.question = q.content)
    returning q.item_id
), changed as (
    update question q
    set answer = coalesce(l.answer, q.answer),
        hidden = q.hidden or n.hides,
        upvotes = q.upvotes + n.up - q.imported_upvotes, imported_upvotes = n.up,
        downvotes = q.downvotes + n.down - q.imported_downvotes, imported_downvotes = n.down
    from listed l join question o on o.item_id = l.item_id and o.content = l.question
    cross join lateral (
        select case when o.owner is null then coalesce(nullif(l.upvotes, o.upvotes), o.imported_upvotes) else 0 end as up,
               case when o.owner is null then coalesce(nullif(l.downvotes, o.downvotes), o.imported_downvotes) else 0 end as down,
               l.hidden and o.owner is null as hides
    ) n
    where q.question_id = o.question_id
      and (coalesce(l.answer, q.answer), q.hidden or n.hides, n.up, n.down)
          is distinct from (q.answer, q.hidden, q.imported_upvotes, q.imported_downvotes)
    returning q.item_id
), added as (
    -- the lists are newest first, and the newest has the highest number
    insert into question (item_id, content, answer, hidden, upvotes, downvotes, imported_upvotes, imported_downvotes)
    select l.item_id, l.question, l.answer, l.hidden, v.up, v.down, v.up, v.down
    from listed l cross join lateral (select coalesce(l.upvotes, 0) as up, coalesce(l.downvotes, 0) as down) v
    where not exists (select from question q where q.item_id = l.item_id and q.content = l.question)
    order by l.item_id, l.position desc
    on conflict do nothing
    returning item_id
)
insert into import_changed select item_id from removed union select item_id from changed union select item_id from added
